/** Contract: nothing that came from elsewhere reaches a terminal as an escape, whichever command prints it. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { neutralise } from '../../src/cli/output.ts'
import type { StoredAuditEvent } from '../../src/core/audit-event.ts'
import { CliUnderTest } from './support/cli-under-test.ts'

// oxlint-disable-next-line no-control-regex -- finding control characters is its purpose
const RAW = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/
const HOSTILE = '\u001b]0;owned\u0007\u001b[2J\r\n\u009b31m\u202e\u2028\u0000'

function hostileEvents(): StoredAuditEvent[] {
  const chain = { writer: 'w', hash: 'x', time: '2030-01-01T00:00:00.000Z', workspace: 'ws-1' }
  return [
    {
      ...chain,
      kind: 'exchange',
      id: '2',
      seq: 2,
      exchange: 'e',
      sandbox: HOSTILE,
      sandboxId: 'b',
      method: 'GET',
      host: `a${HOSTILE}`,
      port: 8443,
      path: `/${HOSTILE}`,
      secrets: [{ id: 's', name: HOSTILE, version: 1, placement: HOSTILE }],
      decision: 'refused',
      reason: 'host_not_allowed',
      status: 403,
      bytesIn: 0,
      bytesOut: 0,
      durationMs: 1,
      upstreamAddress: null,
      upstreamFingerprint: null,
      reported: 0,
    },
    {
      ...chain,
      kind: 'change',
      id: '1',
      seq: 1,
      principal: HOSTILE,
      action: 'secret.create',
      target: { kind: 'secret', id: 's', name: HOSTILE },
      fields: [HOSTILE],
    },
  ]
}

describe('neutralise', () => {
  it('writes controls out, and leaves everything else', () => {
    expect(neutralise('a\u001b[31mb\u009bc\u202ed\r\n')).toBe('a\\x1b[31mb\\x9bc\\u202ed\\x0d\\x0a')
    expect(neutralise('naïve — ключ 鍵 🔑')).toBe('naïve — ключ 鍵 🔑')
  })

  it('leaves no control in any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(neutralise(text)).not.toMatch(RAW)
        expect(neutralise(text)).not.toContain('\n')
      }),
    )
  })
})

describe('hostile text in the data', () => {
  for (const argv of [
    ['audit', 'list'],
    ['audit', 'list', '--json'],
    ['audit', 'export'],
    ['secret', 'list'],
    ['secret', 'list', '--json'],
    ['secret', 'get', 'a'],
    ['sandbox', 'list'],
    ['sandbox', 'env', 's'],
    ['sandbox', 'env', 's', '--format', 'json'],
  ]) {
    it(`is harmless in coatcheck ${argv.join(' ')}`, async () => {
      const cli = CliUnderTest.local()
      cli.audit.events = hostileEvents()
      await cli.cli(['secret', 'create', 'a', '--value-stdin'], { stdin: 'a value that is long enough' })
      await cli.cli(['sandbox', 'create', 's', '--mount', 'A=a'])
      cli.altered.secret = { placeholder: HOSTILE, description: HOSTILE, labels: { k: HOSTILE } }
      cli.altered.sandbox = { env: { A: HOSTILE } }
      const { code, stdout, stderr } = await cli.cli(argv, { isTty: true, env: { NO_COLOR: '1' } })
      expect(code).toBe(0)
      expect(stdout + stderr).not.toMatch(RAW)
    })
  }

  it('is harmless in what the server says of an error', async () => {
    const cli = CliUnderTest.local()
    const { stderr } = await cli.cli(['secret', 'get', HOSTILE])
    expect(stderr).not.toMatch(RAW)
  })
})

/** Every field that some answer has, hostile wherever it is text. */
function hostileAnswer(url: string): object {
  const text = [
    'id',
    'name',
    'kind',
    'role',
    'email',
    'externalId',
    'externalKey',
    'description',
    'placeholder',
    'type',
    'state',
  ]
  const times = [
    'createdAt',
    'updatedAt',
    'expiresAt',
    'lastUsedAt',
    'disabledAt',
    'rotateAt',
    'deletedAt',
    'time',
    'notAfter',
  ]
  const rest = [
    'createdBy',
    'path',
    'effect',
    'principalId',
    'writer',
    'hash',
    'keyId',
    'accountId',
    'workspaceId',
    'scopeId',
  ]
  const told = [
    'onDenied',
    'inBody',
    'status',
    'fingerprint',
    'certificate',
    'message',
    'code',
    'env',
    'ref',
    'why',
    'hint',
  ]
  const flat = Object.fromEntries([...text, ...times, ...rest, ...told].map((field) => [field, HOSTILE]))
  const lists = {
    hosts: [HOSTILE],
    placements: [HOSTILE],
    permissions: [HOSTILE],
    warnings: [HOSTILE],
    created: [HOSTILE],
  }
  const maps = { labels: { [HOSTILE]: HOSTILE }, metadata: { [HOSTILE]: HOSTILE }, conditions: { a: HOSTILE }, env: {} }
  const counts = {
    version: 1,
    accessCount: 1,
    maxAccessCount: 2,
    maxOccurrences: 2,
    priority: 1,
    seq: 1,
    days: 1,
    total: 1,
  }
  const one = {
    ...flat,
    ...lists,
    ...maps,
    ...counts,
    mounts: { A: HOSTILE },
    checks: { [HOSTILE]: true },
    rotationPolicy: { a: HOSTILE },
  }
  const mount = { ...flat, ...lists, secret: one, refusal: one, others: [one] }
  const report = { replaced: [HOSTILE], skipped: [HOSTILE], failed: [one] }
  const nested = { items: [{ ...one, secret: one }], nextCursor: null, notMounted: [one], ...report }
  return { ...one, ...nested, ...(url.includes('/effective') ? { mounts: [mount] } : {}) }
}

describe('hostile text in what a server answers', () => {
  let server: Server
  let env: Record<string, string>

  beforeAll(async () => {
    server = createServer((request, response) => {
      const url = request.url ?? ''
      const raw = /metrics|reference|certificate|bundle/.test(url)
      response.end(raw ? HOSTILE : JSON.stringify(hostileAnswer(url)))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    env = { COATCHECK_URL: url, COATCHECK_TOKEN: 'token', NO_COLOR: '1' }
  })
  afterAll(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it.each([
    'secret get a',
    'secret list --total',
    'secret versions a',
    'secret version a 1',
    'secret generate a',
    'secret revive a',
    'secret effective --sandbox s',
    'secret unused',
    'secret rotation-due',
    'secret import -',
    'sandbox get a',
    'sandbox list',
    'sandbox effective a',
    'account',
    'workspace list',
    'workspace create a',
    'workspace settings a',
    'vault get a',
    'policy list',
    'policy get a',
    'principal list',
    'principal get a',
    'principal self',
    'token list',
    'audit checkpoints',
    'health',
    'metrics',
    'reference',
    'reference --html',
    'ca show',
    'ca show --pem',
    'ca bundle',
  ])('is harmless in coatcheck %s', async (line) => {
    const outcomes = []
    for (const json of line.startsWith('metrics') ? [[]] : [[], ['--json']]) {
      const argv = [...line.split(' '), ...json]
      outcomes.push(await CliUnderTest.local().cli(argv, { env, isTty: true, stdin: 'A=b' }))
    }
    for (const { stdout, stderr } of outcomes) {
      expect(stdout + stderr).not.toBe('')
      expect(stdout + stderr).not.toContain('coatcheck failed')
      expect(stdout + stderr).not.toMatch(RAW)
    }
  })
})

describe('audit rows', () => {
  it('show who did what where with which secret', async () => {
    const cli = CliUnderTest.local()
    cli.audit.events = hostileEvents().map(
      (event) =>
        JSON.parse(JSON.stringify(event).replaceAll(JSON.stringify(HOSTILE).slice(1, -1), 'x')) as StoredAuditEvent,
    )
    const { stdout } = await cli.cli(['audit', 'list'])
    expect(stdout.split('\n').map((line) => line.replace(/ {2,}/g, ' | '))).toEqual([
      'TIME | WHO | EVENT | WHAT | STATUS | SECRETS',
      '2030-01-01T00:00:00.000Z | x | refused: host_not_allowed | GET ax:8443/x | 403 | x@1 in x',
      '2030-01-01T00:00:00.000Z | x | secret.create | secret x | - | fields: x',
      '',
    ])
  })
})
