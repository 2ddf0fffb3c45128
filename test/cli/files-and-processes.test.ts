/** Contract: export writes two public files and nothing else; tail, doctor and completion tell what is there. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { clockCheck, nodeCheck } from '../../src/cli/doctor-checks.ts'
import type { StoredAuditEvent } from '../../src/core/audit-event.ts'
import { CliUnderTest } from './support/cli-under-test.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'coatcheck-cli-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('ca export', () => {
  it('makes the directory and writes certificate and bundle, readable by all, over what was there', async () => {
    const cli = CliUnderTest.local()
    const target = join(folder, 'new', 'certs')
    const { code, stdout } = await cli.cli(['ca', 'export', target])
    const files = ['coatcheck-bundle.pem', 'coatcheck-ca.pem']
    expect([code, stdout]).toEqual([
      0,
      `${join(target, 'coatcheck-ca.pem')}\n${join(target, 'coatcheck-bundle.pem')}\n`,
    ])
    expect(readdirSync(target)).toEqual(files)
    for (const file of files) expect(statSync(join(target, file)).mode & 0o777).toBe(0o644)
    writeFileSync(join(target, 'coatcheck-ca.pem'), 'old')
    await cli.cli(['ca', 'export', target, '--json'])
    expect(readFileSync(join(target, 'coatcheck-ca.pem'), 'utf8')).toBe(cli.authority.certificatePem)
    expect(readdirSync(target)).toEqual(files)
  })

  it('leaves nothing behind when it cannot write', async () => {
    writeFileSync(join(folder, 'file'), '')
    const { code, stderr } = await CliUnderTest.local().cli(['ca', 'export', join(folder, 'file')])
    expect(code).toBe(1)
    expect(stderr).toContain('The system refused: EEXIST')
    expect(readdirSync(folder)).toEqual(['file'])
  })
})

function change(seq: number): StoredAuditEvent {
  const at = { id: `e${seq}`, time: '2030-01-01T00:00:00.000Z', workspace: 'ws-1', writer: 'w', seq, hash: 'h' }
  const target = { kind: 'secret', id: 's', name: `name-${seq}` }
  return { ...at, kind: 'change', principal: 'admin', action: 'secret.create', target, fields: [] }
}

describe('audit tail', () => {
  it('prints the last events, then each new one once, oldest first, until it is ended', async () => {
    const cli = CliUnderTest.local()
    cli.audit.events = [3, 2, 1].map(change)
    const ended = new AbortController()
    const list = cli.audit.list.bind(cli.audit)
    let looks = 0
    cli.audit.list = (...given) => {
      looks += 1
      if (looks === 2) cli.audit.events = [5, 4, 3, 2, 1].map(change)
      if (looks === 3) ended.abort()
      return list(...given)
    }
    const { code, stdout } = await cli.cli(['audit', 'tail', '--limit', '2'], { signal: ended.signal })
    expect(code).toBe(0)
    expect([...stdout.matchAll(/name-\d/g)].map(String)).toEqual(['name-2', 'name-3', 'name-4', 'name-5'])
  })
})

describe('audit export and verify', () => {
  it('prints every event of every page as a line of JSON', async () => {
    const cli = CliUnderTest.local()
    const seqs = Array.from({ length: 450 }, (_, index) => 450 - index)
    cli.audit.events = seqs.map(change)
    const { stdout } = await cli.cli(['audit', 'export'])
    const lines = stdout.trimEnd().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as StoredAuditEvent).seq)).toEqual(seqs)
  })

  it('exits 1 and names the first bad event when the chain is broken', async () => {
    const cli = CliUnderTest.local()
    cli.audit.firstBad = { writer: 'w1', seq: 2, reason: 'hash_mismatch' }
    const text = await cli.cli(['audit', 'verify'])
    expect([text.code, text.stdout]).toEqual([1, ''])
    expect(text.stderr).toContain(
      'does not verify (0 events, 1 writers, 1 checkpoints). First bad event: writer w1, seq 2: hash_mismatch.',
    )
    const json = await cli.cli(['audit', 'verify', '--json'])
    expect([json.code, JSON.parse(json.stdout)]).toMatchObject([1, { ok: false, firstBad: { seq: 2 } }])
  })
})

describe('doctor', () => {
  let server: Server | undefined

  afterEach(async () => {
    server?.closeAllConnections()
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
    server = undefined
  })

  async function readyServer(status: number): Promise<string> {
    const started = createServer((_request, response) => response.writeHead(status).end('{}'))
    server = started
    await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(started.address() as AddressInfo).port}`
  }

  async function doctor(locations: object, env: Record<string, string> = {}) {
    const { code, stdout } = await CliUnderTest.local().cli(['doctor', '--json'], { locations, env })
    const { checks } = JSON.parse(stdout) as {
      checks: { name: string; state: string; detail: string; fix: string | null }[]
    }
    return { code, checks, states: Object.fromEntries(checks.map(({ name, state }) => [name, state])) }
  }

  it('finds nothing wrong where nothing was started yet, and creates nothing', async () => {
    const { code, states } = await doctor({ dataDir: join(folder, 'data') })
    expect(code).toBe(0)
    expect(states).toMatchObject({
      'data directory': 'ok',
      server: 'warning',
      certificate: 'warning',
      environment: 'ok',
    })
    expect(readdirSync(folder)).toEqual([])
  })

  it('fails when others may open the data directory or a file in it', async () => {
    const dataDir = join(folder, 'data')
    mkdirSync(dataDir, { mode: 0o700 })
    writeFileSync(join(dataDir, 'keyring'), '', { mode: 0o600 })
    mkdirSync(join(dataDir, 'trust'), { mode: 0o755 })
    writeFileSync(join(dataDir, 'audit-key.pub.pem'), '', { mode: 0o644 })
    expect((await doctor({ dataDir })).states['data directory']).toBe('ok')
    chmodSync(join(dataDir, 'keyring'), 0o640)
    const { code, checks } = await doctor({ dataDir })
    expect(code).toBe(1)
    expect(checks.find(({ name }) => name === 'data directory')).toMatchObject({
      state: 'failed',
      detail: `others may open ${join(dataDir, 'keyring')}`,
      fix: `chmod go= '${join(dataDir, 'keyring')}'`,
    })
  })

  it('asks the server, and fails when it is not ready or COATCHECK_URL names none', async () => {
    expect((await doctor({ apiUrl: await readyServer(200) })).states).toMatchObject({ server: 'ok', clock: 'ok' })
    await new Promise((resolve) => server?.close(resolve))
    expect((await doctor({ apiUrl: await readyServer(503) })).states['server']).toBe('failed')
    expect((await doctor({}, { COATCHECK_URL: 'http://127.0.0.1:1' })).states['server']).toBe('failed')
  })

  it('fails for a certificate file that holds none and for variables that name missing files', async () => {
    const caFile = join(folder, 'ca.pem')
    writeFileSync(caFile, 'not a certificate')
    const { states } = await doctor({ caFile }, { SSL_CERT_FILE: join(folder, 'missing.pem') })
    expect(states).toMatchObject({ certificate: 'failed', 'environment SSL_CERT_FILE': 'failed' })
  })

  it('warns when the proxy is set for a sandbox and the trust variables are not', async () => {
    const { checks } = await doctor({}, { HTTPS_PROXY: 'http://agent:token@127.0.0.1:8080' })
    const found = checks.find(({ name }) => name === 'environment')
    expect(found).toMatchObject({ state: 'warning' })
    expect(found?.detail).toContain('NODE_EXTRA_CA_CERTS, SSL_CERT_FILE')
    expect(JSON.stringify(checks)).not.toContain('agent:token')
  })

  it('warns of a Node without the latest security fixes', () => {
    for (const old of ['26.12.0', '26.10.0', '24.22.0', '24.15.3', '25.9.0', '22.0.0'])
      expect(nodeCheck(old).state, old).toBe('warning')
    for (const current of ['26.12.1', '26.13.0', '24.22.1', '24.30.0', '27.0.0'])
      expect(nodeCheck(current).state, current).toBe('ok')
  })

  it('fails when the clock is more than a minute from the server', () => {
    const now = Date.parse('2030-01-01T00:00:00Z')
    expect(clockCheck('Tue, 01 Jan 2030 00:00:59 GMT', now).state).toBe('ok')
    expect(clockCheck('Tue, 01 Jan 2030 00:02:00 GMT', now).state).toBe('failed')
    expect(clockCheck(undefined, now).state).toBe('warning')
  })
})

function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`])
    return true
  } catch {
    return false
  }
}

describe('completion', () => {
  async function script(shell: string): Promise<string> {
    return (await CliUnderTest.local().cli(['completion', shell])).stdout
  }

  it.skipIf(!has('bash'))('of bash offers what can follow (needs bash)', async () => {
    const text = await script('bash')
    const complete = (words: string): string[] => {
      const list = words.split(' ').map((word) => `'${word}'`)
      const run = `${text}\nCOMP_WORDS=(${list.join(' ')}); COMP_CWORD=${list.length - 1}; _coatcheck; printf '%s\\n' "\${COMPREPLY[@]}"`
      return execFileSync('bash', ['--norc', '-c', run], { env: {}, stdio: ['ignore', 'pipe', 'ignore'] })
        .toString()
        .trim()
        .split('\n')
    }
    expect(complete('coatcheck sec')).toEqual(['secret'])
    expect(complete('coatcheck secret ro')).toEqual(['rotate', 'rotation-due'])
    expect(complete('coatcheck sandbox env name --f')).toEqual(['--format'])
    expect(complete('coatcheck secret create x --value')).toEqual(['--value-stdin', '--value-file'])
    expect(complete('coatcheck secret list secret')).toEqual([''])
  })

  for (const shell of ['zsh', 'fish']) {
    it.skipIf(!has(shell))(`of ${shell} is a script without mistakes (needs ${shell})`, async () => {
      const file = join(folder, 'completion')
      writeFileSync(file, await script(shell))
      execFileSync(shell, ['-n', file])
    })
  }

  it('knows every command for every shell', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const text = await script(shell)
      for (const word of ['secret', 'rotate', 'sandbox', 'mount', 'audit', 'verify', 'doctor'])
        expect(text).toContain(word)
    }
  })
})
