/** What the image promises: pinned bases, no root, nothing secret in it, a health check that tells, settings that load. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadSettings } from '../../src/config.ts'

const root = join(import.meta.dirname, '../..')

interface Instruction {
  readonly name: string
  readonly rest: string
}

/** The instructions of one stage, its FROM first; comments left out, continued lines joined. */
type Stage = readonly Instruction[]

function stagesOf(dockerfile: string): Stage[] {
  const joined = dockerfile.replace(/^\s*#.*\n/gm, '').replace(/\\\n/g, ' ')
  const stages: Instruction[][] = []
  for (const line of joined.split('\n').filter((text) => text.trim() !== '')) {
    const [, name = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line.trim()) ?? []
    if (name === 'FROM') stages.push([])
    stages.at(-1)?.push({ name, rest: rest.replace(/\s+/g, ' ') })
  }
  return stages
}

const stages = stagesOf(readFileSync(join(root, 'Dockerfile'), 'utf8'))
const [build = [], runtime = []] = stages
const all = stages.flat()

function of(stage: Stage, name: string): string[] {
  return stage.filter((instruction) => instruction.name === name).map(({ rest }) => rest)
}

/** The one CMD, ENTRYPOINT or HEALTHCHECK of the image, which must be in exec form. */
function command(name: string): string[] {
  const [rest = ''] = of(runtime, name)
  return JSON.parse(rest.slice(rest.indexOf('['))) as string[]
}

function environment(): Record<string, string> {
  return Object.fromEntries(
    of(runtime, 'ENV').flatMap((rest) => rest.split(' ').map((pair) => pair.split('=') as [string, string])),
  )
}

describe('the image', () => {
  it('has two stages, both of the official Node image at 26.13 or later', () => {
    expect(stages).toHaveLength(2)
    for (const base of all.filter(({ name }) => name === 'FROM')) {
      const [, minor] =
        /^node:26\.(\d+)(?:\.\d+)?-[a-z]+-slim(?:@sha256:[0-9a-f]{64})?(?: AS build)?$/.exec(base.rest) ?? []
      expect(Number(minor), base.rest).toBeGreaterThanOrEqual(13)
    }
  })

  it('runs as a numbered user that is not root, chosen before anything is run', () => {
    const last = of(runtime, 'USER').at(-1) ?? ''
    expect(last).toMatch(/^[1-9]\d*:[1-9]\d*$/)
    const names = runtime.map(({ name }) => name)
    expect(names.lastIndexOf('USER')).toBeLessThan(names.indexOf('ENTRYPOINT'))
    expect(names.lastIndexOf('USER')).toBeGreaterThan(names.lastIndexOf('RUN'))
  })

  it('copies only what exists and what .dockerignore lets through, and downloads nothing by itself', () => {
    expect(of(all, 'ADD')).toEqual([])
    const allowed = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n')
    expect(allowed).toContain('*')
    for (const rest of of(build, 'COPY')) {
      for (const source of rest.split(' ').slice(0, -1)) {
        expect(existsSync(join(root, source)), source).toBe(true)
        expect(allowed).toContain(`!${source}`)
      }
    }
    for (const rest of of(runtime, 'COPY')) expect(rest).toMatch(/^--from=build \/app\//)
    expect(of(all, 'RUN').join('\n')).not.toMatch(/curl|wget|https?:/)
  })

  it('installs what the lock file says, and leaves out what only development needs', () => {
    const steps = of(build, 'RUN').join(' && ').split(' && ')
    expect(steps[0]).toBe('npm ci --ignore-scripts')
    expect(steps.indexOf('npm run build')).toBeLessThan(steps.indexOf('npm prune --omit=dev --ignore-scripts'))
    expect(steps.at(-1)).toBe('test ! -e node_modules/node')
    const { devDependencies, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      devDependencies: Record<string, string>
      dependencies: Record<string, string>
    }
    expect(Object.keys(devDependencies)).toContain('node')
    expect(Object.keys(dependencies)).not.toContain('node')
  })

  it('has no secret and no build argument', () => {
    expect(of(all, 'ARG')).toEqual([])
    expect(Object.keys(environment()).filter((name) => /TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL/.test(name))).toEqual([])
    expect(of(all, 'RUN').filter((rest) => rest.includes('--mount=type=secret'))).toEqual([])
  })

  it('has settings that load, and keeps its data on a volume', () => {
    const settings = loadSettings({ file: null, env: environment() })
    expect(settings.proxy).toMatchObject({ listen: { host: '0.0.0.0', port: 8080 }, identity: { kind: 'required' } })
    expect(settings.api.listen).toEqual({ host: '127.0.0.1', port: 8081 })
    expect(of(runtime, 'VOLUME')).toEqual([settings.dataDir])
    expect(of(runtime, 'WORKDIR')).toEqual([settings.dataDir])
    expect(of(runtime, 'EXPOSE')).toEqual([`${settings.proxy.listen.port} ${settings.api.listen.port}`])
  })

  it('starts the server itself, without a shell, and with the inspector signal off', () => {
    expect(command('ENTRYPOINT')).toEqual(['node', '--disable-sigusr1', '/app/dist/main.js'])
    expect(command('CMD')).toEqual(['serve'])
    expect(of(runtime, 'STOPSIGNAL')).toEqual(['SIGTERM'])
    const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> }
    expect(Object.values(bin)).toEqual(['dist/main.js'])
  })
})

describe('its health check', () => {
  /** Exit code of the health check, asking this port instead of the image's. */
  async function check(port: number): Promise<number | null> {
    const [program, ...args] = command('HEALTHCHECK')
    expect(program).toBe('node')
    const script = args.map((argument) => argument.replace('127.0.0.1:8081', () => `127.0.0.1:${port}`))
    const child = spawn(process.execPath, script, { stdio: 'ignore', env: {} })
    return await new Promise((resolve) => child.once('exit', resolve))
  }

  async function answering(status: number, use: (port: number) => Promise<void>): Promise<void> {
    const asked: (string | undefined)[] = []
    const server = createServer((request, response) => {
      asked.push(request.url)
      response.writeHead(status).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      await use((server.address() as AddressInfo).port)
      expect(asked).toEqual(['/healthz'])
    } finally {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  it('succeeds on 200 from /healthz and fails on anything else, or on nothing', async () => {
    let closed = 0
    await answering(200, async (port) => {
      closed = port
      expect(await check(port)).toBe(0)
    })
    await answering(503, async (port) => expect(await check(port)).toBe(1))
    expect(await check(closed)).toBe(1)
  })
})
