/**
 * What comes back when something fails: a static answer with a code, a message, a hint and the request id. None of the
 * upstream's text, no field, no target, no value; and nothing of anybody else's exchange.
 */
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { outcome } from '../support/audited.ts'
import { freePort } from '../support/free-port.ts'
import { canary } from '../support/leak-check.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { bearerOf, reflect } from '../support/reflector.ts'
import { Rig } from '../support/rig.ts'
import { type Answer, answerTo, openTls, openWire, send } from '../support/sandbox-client.ts'
import { SecondWorkspace } from '../support/second-workspace.ts'
import { until } from '../support/until.ts'
import type { Wire } from '../support/wire.ts'

let rig: Rig
let closedPort: number
let silent: net.Server
beforeAll(async () => {
  closedPort = await freePort()
  silent = net.createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  rig = await Rig.start({
    ports: [closedPort, (silent.address() as AddressInfo).port],
    names: ['api.test', 'wrong.test'],
    env: {
      COATCHECK_UPSTREAM_HEADERSTIMEOUT: '300ms',
      COATCHECK_UPSTREAM_IDLETIMEOUT: '300ms',
      COATCHECK_UPSTREAM_CONNECTTIMEOUT: '300ms',
    },
  })
  await rig.app.data.secrets.update(rig.principal, 'openai', {
    hosts: null,
    placements: ['credential-headers', 'query:key', 'path'],
  })
})
afterAll(async () => {
  silent.close()
  await rig.stop()
})
beforeEach(() => {
  rig.upstream.clear()
  rig.plain.clear()
})

const UPSTREAM_TEXT = 'Text-Of-The-Upstream'

async function ask(host: string, port: number): Promise<Answer> {
  const socket = await openTls(rig, host, { port })
  socket.on('data', (chunk: Buffer) => rig.seen.push(chunk))
  const { placeholder } = rig.secret
  const headers = [
    'Host',
    `${host}:${port}`,
    'Authorization',
    `Bearer ${placeholder}`,
    'X-Mine',
    'Field-Of-The-Request',
  ]
  const path = `/Path-Of-The-Request/?key=${placeholder}&q=Query-Of-The-Request`
  return await answerTo(http.request({ createConnection: () => socket, path, headers, setDefaultHeaders: false }))
}

/** The whole answer, apart from the id, is one of a few that are written in the source. */
async function expectStatic(answer: Answer, status: number, code: string): Promise<void> {
  expect([answer.status, answer.error?.code]).toEqual([status, code])
  const { requestId = '', message, hint } = answer.error ?? {}
  const all = `${answer.reason}\n${answer.rawHeaders.join('\n')}\n${answer.body.toString()}`
  expect(all).not.toMatch(
    /-Of-The-|api\.test|wrong\.test|127\.0\.0\.1|xcoat_|UND_ERR|HPE_|ECONN|ENOTFOUND|EPROTO|openssl|ssl routines|\.ts\b/,
  )
  expect(JSON.parse(answer.body.toString())).toEqual({ error: { code, message, hint, requestId } })
  expect(Object.keys(answer.headers).sort()).toEqual(
    ['cache-control', 'coatcheck-error', 'connection', 'content-length', 'content-type', 'keep-alive'].filter(
      (name) => name in answer.headers,
    ),
  )
  expect(await outcome(rig, { requestId })).toEqual({ decision: 'failed', reason: code, status })
}

describe('F14 an upstream that fails', () => {
  const raw = (serve: (wire: Wire) => unknown) => rig.upstream.takeRaw(serve)
  const head = `HTTP/1.1 200 ${UPSTREAM_TEXT}\r\nX-Theirs: ${UPSTREAM_TEXT}\r\n`

  it('F14 because its name does not resolve', async () => {
    await expectStatic(await ask('no-such-name.invalid', 443), 502, 'upstream_unresolved')
  })

  it('F14 because nobody listens', async () => {
    await expectStatic(await ask('api.test', closedPort), 502, 'upstream_unreachable')
  })

  it('F14 because its TLS never begins', async () => {
    await expectStatic(await ask('api.test', (silent.address() as AddressInfo).port), 504, 'upstream_timeout')
  })

  it('F14 because it speaks no TLS', async () => {
    await expectStatic(await ask('api.test', rig.plain.port), 502, 'upstream_tls')
  })

  it.each([
    ['at once', (wire: Wire) => void wire.socket.destroy()],
    ['after the request', async (wire: Wire) => void wire.head().then(() => wire.socket.destroy())],
    ['in the middle of a head', async (wire: Wire) => (await wire.head(), wire.write(head), wire.socket.end())],
    [
      'with something else than HTTP',
      async (wire: Wire) => (await wire.head(), wire.write(`${UPSTREAM_TEXT}\r\n\r\n`)),
    ],
    [
      'with a head that is too large',
      async (wire: Wire) => (await wire.head(), wire.write(`${head}X-A: ${'a'.repeat(70_000)}\r\n\r\n`)),
    ],
    [
      'with a broken field',
      async (wire: Wire) => (await wire.head(), wire.write(`${head}X\0: ${UPSTREAM_TEXT}\r\n\r\n`)),
    ],
    [
      'in a body that is held until it is complete',
      async (wire: Wire) => (
        await wire.head(), wire.write(`${head}Content-Length: 90\r\n\r\n${UPSTREAM_TEXT}`), wire.socket.end()
      ),
    ],
    [
      'with a reason that cannot be written',
      async (wire: Wire) => (
        await wire.head(),
        wire.write(`HTTP/1.1 200 ${UPSTREAM_TEXT} \xe6\x97\xa5\r\nContent-Length: 2\r\nX\x01: 1\r\n\r\nok`)
      ),
    ],
  ])('F14 because it breaks off %s', async (_name, serve) => {
    raw(serve)
    await expectStatic(await ask('api.test', rig.upstream.port), 502, 'upstream_failed')
  })

  it('F14 because it never answers', async () => {
    raw(async (wire) => void (await wire.head()))
    await expectStatic(await ask('api.test', rig.upstream.port), 504, 'upstream_timeout')
  })

  it('F14 and one that signs as us is not believed', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(403, { 'coatcheck-error': 'host_not_allowed', 'Coatcheck-Error': 'plaintext' })
      response.end('{}')
    })
    const answer = await ask('api.test', rig.upstream.port)
    expect([answer.status, answer.error]).toEqual([403, null])
  })

  it('F14 its reason arrives byte for byte, whatever its encoding', async () => {
    for (const reason of ['caf\xe9 \xe6\x97\xa5', '\xe6\x97\xa5', '']) {
      rig.upstream.clear()
      raw(async (wire) => (await wire.head(), wire.write(`HTTP/1.1 200 ${reason}\r\nContent-Length: 2\r\n\r\nok`)))
      const answer = await send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })
      expect([answer.status, answer.reason, answer.body.toString()]).toEqual([200, reason, 'ok'])
    }
  })

  it('F14 its detail is in the operator log, under the id that the answer shows', async () => {
    const answer = await ask('api.test', closedPort)
    const line = rig.logLines.find((each) => each.includes(answer.error?.requestId ?? '-')) ?? '{}'
    expect(JSON.parse(line)).toMatchObject({ reason: 'upstream_unreachable', cause: { code: 'ECONNREFUSED' } })
  })
})

describe('F15 methods that reflect', () => {
  it.each(['TRACE', 'TRACK', 'DEBUG'])('F15 %s is not forwarded', async (method) => {
    const wire = await openWire(rig)
    wire.write(
      `${method} / HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nAuthorization: Bearer ${rig.secret.placeholder}\r\n\r\n`,
    )
    const answer = await wire.message()
    expect([400, 405]).toContain(answer.status)
    wire.socket.destroy()
    expect(rig.upstream.connections).toBe(0)
  })

  it('F15 nor in absolute form, nor is OPTIONS * answered with anything of the request', async () => {
    const raw = new RawSandbox(rig)
    const trace = await raw.ask(
      `TRACE http://api.test:${rig.plain.port}/ HTTP/1.1`,
      `Host: api.test:${rig.plain.port}`,
      'X-Mine: here',
    )
    expect([trace.status, trace.body.includes('here')]).toEqual([405, false])
    const wire = await openWire(rig)
    wire.write(`OPTIONS * HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nX-Mine: here\r\n\r\n`)
    const options = await wire.message()
    expect([options.status, options.body.includes('here')]).toEqual([400, false])
    wire.socket.destroy()
    expect(rig.upstream.connections + rig.plain.connections).toBe(0)
  })

  it('F15 Max-Forwards: 0 is the upstream’s to read; we reflect nothing', async () => {
    rig.upstream.answerWith(reflect())
    const answer = await send(rig, {
      method: 'OPTIONS',
      headers: ['Max-Forwards', '0', 'Authorization', `Bearer ${rig.secret.placeholder}`],
    })
    expect(answer.status).toBe(200)
    expect(answer.body.includes(rig.value)).toBe(false)
  })
})

describe('F17 two workspaces that ask for the same', () => {
  it('F17 at the same time get each their own answer, on connections of their own', async () => {
    const value = canary('f17')
    const theirs = await SecondWorkspace.create(rig, value)
    const whose = new Map<unknown, Set<string>>()
    rig.upstream.answerWith((request, response) => {
      const bearer = bearerOf(request)
      whose.set(request.socket, (whose.get(request.socket) ?? new Set()).add(bearer))
      response.writeHead(200, { 'cache-control': 'public, max-age=3600', etag: '"same"' })
      setImmediate(() => response.end(`answer to ${bearer === rig.value ? 'ours' : 'theirs'}`))
    })
    const asks = Array.from({ length: 20 }, (_none, i) =>
      i % 2 === 0
        ? send(rig, { path: '/same', headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })
        : send(rig, {
            path: '/same',
            headers: ['Authorization', `Bearer ${theirs.placeholder}`],
            sandbox: theirs.sandbox,
          }),
    )
    const answers = await Promise.all(asks)
    expect(answers.map((each) => each.body.toString())).toEqual(
      Array.from({ length: 20 }, (_none, i) => `answer to ${i % 2 === 0 ? 'ours' : 'theirs'}`),
    )
    expect(rig.upstream.requests).toHaveLength(20)
    expect([...whose.values()].every((bearers) => bearers.size === 1)).toBe(true)
  })
})

describe('F18 bytes of others', () => {
  it('F18 do not fill what a sandbox or an upstream left out', async () => {
    const socket = await openTls(rig, 'api.test')
    socket.on('error', () => undefined)
    socket.write(
      `POST /f18 HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nContent-Length: 100000\r\n\r\nten bytes.`,
    )
    await until(() => rig.upstream.received.includes('ten bytes.'))
    socket.destroy()
    await until(() => rig.upstream.sockets.size === 0)
    expect(rig.upstream.received.subarray(-10).toString()).toBe('ten bytes.')

    rig.upstream.takeRaw(
      async (wire) => (
        await wire.head(), wire.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nten bytes.'), wire.socket.end()
      ),
    )
    const wire = await openWire(rig)
    wire.write(`GET / HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n\r\n`)
    const rest = await wire.rest()
    expect(rest.toString('latin1')).toMatch(/\r\n\r\nten bytes\.$|coatcheck-error/)
  })

  it('F18 no source takes memory that is not cleared', async () => {
    const source = join(import.meta.dirname, '../../src')
    for (const name of await readdir(source, { recursive: true })) {
      if (name.endsWith('.ts'))
        expect(await readFile(join(source, name), 'utf8'), name).not.toMatch(/allocUnsafe|new Buffer\(/)
    }
  })
})
