/** The example deployment holds its workload: one network without a way out, no privileges, public certificates only. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadSettings } from '../../src/config.ts'

interface Service {
  readonly image: string
  readonly read_only?: boolean
  readonly privileged?: boolean
  readonly network_mode?: string
  readonly cap_drop?: readonly string[]
  readonly cap_add?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly ports?: readonly string[]
  readonly ulimits?: Readonly<Record<string, number>>
  readonly environment?: Readonly<Record<string, string>>
  readonly networks: readonly string[] | Readonly<Record<string, { readonly ipv4_address?: string }>>
  readonly volumes?: readonly (string | Readonly<Record<string, unknown>>)[]
}

interface Compose {
  readonly services: Readonly<Record<'coatcheck' | 'agent', Service>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>
}

const text = readFileSync(join(import.meta.dirname, '../../deploy/compose.yaml'), 'utf8')
const { services, networks } = parse(text) as Compose

describe('the compose example', () => {
  it.each(Object.entries(services))(
    'takes every privilege from %s, and lets it write to volumes only',
    (_, service) => {
      expect(service.read_only).toBe(true)
      expect(service.cap_drop).toEqual(['ALL'])
      expect(service.cap_add).toBeUndefined()
      expect(service.privileged).toBeUndefined()
      expect(service.network_mode).toBeUndefined()
      expect(service.security_opt).toEqual(['no-new-privileges:true'])
      expect(service.ports).toBeUndefined()
      expect(JSON.stringify(service.volumes)).not.toContain('docker.sock')
    },
  )

  it('gives the workload no network but the one that has no way out', () => {
    expect(services.agent.networks).toEqual(['inside'])
    expect(networks['inside']?.internal).toBe(true)
  })

  it('shows the workload the trust files of the data volume, read-only, and nothing else of it', () => {
    expect(services.agent.volumes).toEqual([
      { type: 'volume', source: 'data', target: '/data/trust', read_only: true, volume: { subpath: 'trust' } },
    ])
    expect(services.coatcheck.volumes).toEqual(['data:/data'])
  })

  it('has settings that load, with the proxy on the inner network and an identity required', () => {
    const { proxy, api } = loadSettings({ file: null, env: services.coatcheck.environment ?? {} })
    const { inside } = services.coatcheck.networks as Record<string, { ipv4_address?: string }>
    expect(proxy.listen).toEqual({ host: inside?.ipv4_address, port: 8080 })
    expect(proxy.identity).toEqual({ kind: 'required' })
    expect(api.listen.host).toBe('127.0.0.1')
  })

  it('writes no core dump, and no token or value into the file', () => {
    expect(services.coatcheck.ulimits?.['core']).toBe(0)
    expect(text).not.toMatch(/xcoat_|sk-|_(TOKEN|PASSWORD): /)
    expect(readFileSync(join(import.meta.dirname, '../../deploy/.gitignore'), 'utf8')).toContain('sandbox.env')
  })

  it('pins every image that it does not build', () => {
    expect(services.agent.image).toMatch(/:\d+\.\d+\.\d+$/)
  })
})
