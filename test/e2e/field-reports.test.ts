/**
 * What users of similar proxies ran into, each test named by the thread that reported it: framing, bytes, encodings, places
 * and upgrades as their clients need them.
 */
import { createHash, randomBytes } from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent } from '../support/audited.ts'
import { frameBytes, readFrames, textOf } from '../support/frames.ts'
import { canary } from '../support/leak-check.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { headText, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { HANDSHAKE } from '../support/websocket-rig.ts'
import { valuesOf } from '../support/wire.ts'

interface Known {
  readonly placeholder: string
  readonly value: string
}

let rig: Rig
/** By placement. */
let inBody: Known
let inPath: Known
let inQuery: Known
let inMessages: Known

async function known(name: string, placements: readonly string[], value = canary(name)): Promise<Known> {
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name,
    value: SecretValue.fromText(value),
    hosts: [ALLOWED],
    placements,
  })
  return { placeholder: secret.placeholder, value }
}

beforeAll(async () => {
  rig = await Rig.start()
  inBody = await known('in-body', ['body:/client_secret', 'body:client_secret'])
  inPath = await known('in-path', ['path'], `1234:${canary('path')}`)
  inQuery = await known('in-query', ['query:key'], `${canary('query')}+/=`)
  inMessages = await known('in-messages', ['websocket'])
  const mounts = { KEY: 'openai', BODY: 'in-body', PATH_: 'in-path', QUERY: 'in-query', MESSAGES: 'in-messages' }
  await rig.app.data.sandboxes.setMounts(rig.principal, 'box', mounts)
})
afterAll(() => rig.stop())
beforeEach(() => rig.upstream.clear())

const bearer = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]
const JSON_TYPE = ['Content-Type', 'application/json']
const FORM_TYPE = ['Content-Type', 'application/x-www-form-urlencoded']

describe('bodies and their framing', () => {
  it('openclaw#141426: a POST with a fixed length keeps it when a value is swapped in a header', async () => {
    const body = JSON.stringify({ model: 'm', messages: [] })
    await send(rig, { method: 'POST', headers: [...bearer(), ...JSON_TYPE], body })
    const { headers, body: received } = rig.upstream.last
    expect(headers.authorization).toBe(`Bearer ${rig.value}`)
    expect([headers['content-length'], headers['transfer-encoding']]).toEqual([String(body.length), undefined])
    expect(received.toString()).toBe(body)
  })

  it('microsandbox#530: a POST with a fixed length has that of the body with the value', async () => {
    const body = JSON.stringify({ client_secret: inBody.placeholder, after: 'x' })
    await send(rig, { method: 'POST', headers: JSON_TYPE, body })
    const { headers, body: received } = rig.upstream.last
    expect(JSON.parse(received.toString())).toEqual({ client_secret: inBody.value, after: 'x' })
    expect([headers['content-length'], headers['transfer-encoding']]).toEqual([String(received.length), undefined])
  })

  it.each([1_048_576, 1_048_577, 64 * 1024 * 1024])(
    'OpenSandbox#1465, #1851: a body of %i bytes leaves with its credentials, whole',
    async (size) => {
      const hash = createHash('sha256')
      rig.upstream.recording = false
      rig.upstream.answerWith((request, response) => {
        request.on('data', (chunk: Buffer) => hash.update(chunk))
        request.on('end', () => response.end(hash.digest('hex')))
      })
      const body = Buffer.alloc(size, 'coatcheck')
      const answer = await send(rig, { method: 'PUT', path: '/upload', headers: bearer(), body })
      expect(answer.body.toString()).toBe(createHash('sha256').update(body).digest('hex'))
      expect(rig.upstream.requests[0]?.headers).toMatchObject({
        authorization: `Bearer ${rig.value}`,
        'content-length': String(size),
      })
    },
  )

  it.each([
    ['text that is no UTF-8', () => Buffer.concat([Buffer.from([0xff, 0xfe, 0xc0, 0x80]), randomBytes(70_000)])],
    ['gzip', () => gzipSync(randomBytes(70_000))],
  ])('microsandbox#756, #768, #783: %s arrives as it was sent, also around a value', async (_name, make) => {
    const bytes = make()
    await send(rig, { method: 'POST', headers: [...bearer(), 'Content-Type', 'application/gzip'], body: bytes })
    expect(rig.upstream.last.body.equals(bytes)).toBe(true)
    // As long as clients make it: a short one stands in random bytes now and then, which closes the rest of the body.
    const boundary = '----formdata-undici-0123456789'
    const part = (name: string, content: Buffer) =>
      Buffer.concat([
        Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n`),
        content,
        CRLF,
      ])
    const form = (secret: string) =>
      Buffer.concat([
        part('file', bytes),
        part('client_secret', Buffer.from(secret)),
        Buffer.from(`--${boundary}--\r\n`),
      ])
    const headers = ['Content-Type', `multipart/form-data; boundary=${boundary}`]
    await send(rig, { method: 'POST', headers, body: form(inBody.placeholder) })
    expect(rig.upstream.last.body.equals(form(inBody.value))).toBe(true)
  })

  it('microsandbox#784: what looks like a header in the rest of a body is not taken for one', async () => {
    const wire = await openWire(rig)
    const line = `Authorization: Bearer ${rig.secret.placeholder}\r\n\r\n`
    wire.write(headText(rig, 'POST /784', [...bearer(), 'Content-Length', String(line.length * 3)]))
    for (let i = 0; i < 3; i += 1) {
      wire.write(line)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(rig.upstream.last.body.toString()).toBe(line.repeat(3))
    expect(await closingEvent(rig, { path: '/784' })).toMatchObject({ decision: 'released', reported: 3 })
  })

  it('iron-proxy#9, #15: a Content-Length, there and back, is that of the body that comes with it', async () => {
    rig.upstream.answerWith((request, response) => {
      const echo = `"${request.headers.authorization}"`
      response.writeHead(200, { 'content-length': echo.length }).end(echo)
    })
    const wire = await openWire(rig)
    for (let i = 0; i < 2; i += 1) {
      const body = `client_secret=${inBody.placeholder}`
      wire.write(headText(rig, 'POST /', [...bearer(), ...FORM_TYPE, 'Content-Length', String(body.length)]) + body)
      const { framing, body: answer } = await wire.message()
      expect([framing, answer.toString()]).toEqual(['length', `"Bearer ${rig.secret.placeholder}"`])
    }
    wire.socket.destroy()
    for (const { headers, body } of rig.upstream.requests) expect(headers['content-length']).toBe(String(body.length))
    expect(rig.upstream.requests).toHaveLength(2)
  })

  it('gondolin#57: a large POST to an upstream that reads slowly gets there', async () => {
    let received = 0
    rig.upstream.recording = false
    rig.upstream.answerWith((request, response) => {
      request.on('data', (chunk: Buffer) => {
        received += chunk.length
        request.pause()
        setImmediate(() => request.resume())
      })
      request.on('end', () => response.end('read'))
    })
    const body = Buffer.alloc(16 * 1024 * 1024, 'x')
    expect((await send(rig, { method: 'POST', headers: bearer(), body })).body.toString()).toBe('read')
    expect(received).toBe(body.length)
  })

  it('OpenShell#1638: the chunk signatures of an aws-chunked upload arrive as they were made', async () => {
    const chunk = `5;chunk-signature=${'ab'.repeat(32)}\r\nhello\r\n0;chunk-signature=${'cd'.repeat(32)}\r\n\r\n`
    const headers = ['x-amz-content-sha256', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'Content-Encoding', 'aws-chunked']
    await send(rig, { method: 'PUT', path: '/bucket/key', headers, body: chunk })
    expect(rig.upstream.last.body.toString()).toBe(chunk)
    expect(rig.upstream.last.headers).toMatchObject({ 'content-encoding': 'aws-chunked' })
  })

  it.each([
    ['report', 200],
    ['withhold', 200],
    ['refuse', 403],
  ] as const)(
    'microsandbox#1354: a trace with a placeholder in it is answered by inBody: %s',
    async (inBodySays, status) => {
      const own = await Rig.start({ env: { COATCHECK_SECRETS_INBODY: inBodySays } })
      const body = JSON.stringify({ env: own.secret.placeholder })
      const answer = await send(own, { host: OTHER, method: 'POST', path: '/trace', headers: JSON_TYPE, body })
      expect(answer.status).toBe(status)
      if (status === 200) expect(own.upstream.last.body.toString()).toBe(body)
      expect(own.upstream.received.includes(own.value)).toBe(false)
      expect((await closingEvent(own, { path: '/trace' })).reported).toBe(1)
      await own.stop()
    },
  )
})

describe('places and their encodings', () => {
  it('openclaw#147620, microsandbox#698: git over HTTPS has its token inside the base64 of Basic', async () => {
    const basic = (password: string) => `Basic ${Buffer.from(`x-access-token:${password}`).toString('base64')}`
    await send(rig, { path: '/o/r.git/info/refs', headers: ['Authorization', basic(rig.secret.placeholder)] })
    expect(rig.upstream.last.headers.authorization).toBe(basic(rig.value))
  })

  it.each([
    '/v1/b/o%2Fa%2fb/%7Euser/%C3%A9?prefix=a%2Fb&x=+',
    '/bucket//a/./b;v=1?X-Amz-Credential=AKIA%2F20260101%2Fus',
  ])(
    'iron-proxy#156, nono#1430: %s is forwarded byte for byte, with and without a value next to it',
    async (target) => {
      await send(rig, { path: target, headers: bearer() })
      expect(rig.upstream.last.target).toBe(target)
      await send(rig, { path: `${target}&key=${inQuery.placeholder}` })
      expect(rig.upstream.last.target).toBe(`${target}&key=${encodeURIComponent(inQuery.value)}`)
    },
  )

  it('OpenShell#689, #708, #630: Telegram has its token in the path, Google in the query', async () => {
    await send(rig, { path: `/bot${inPath.placeholder}/getMe` })
    const [, bot = ''] = /^\/bot(.*)\/getMe$/.exec(rig.upstream.last.target) ?? []
    expect(decodeURIComponent(bot)).toBe(inPath.value)
    await send(rig, { path: `/v1/models?key=${inQuery.placeholder}&alt=json` })
    const query = new URL(rig.upstream.last.target, 'https://api.test').searchParams
    expect([query.get('key'), query.get('alt')]).toEqual([inQuery.value, 'json'])
  })

  it('agent-vault#225: OAuth has its client_secret in a form, and the token that comes back is not touched', async () => {
    rig.upstream.answerWith((_request, response) => response.end('{"access_token":"minted"}'))
    const body = `grant_type=client_credentials&client_id=a%20b&client_secret=${inBody.placeholder}`
    const answer = await send(rig, { method: 'POST', path: '/oauth/token', headers: FORM_TYPE, body })
    expect(rig.upstream.requests[0]?.body.toString()).toBe(body.replace(inBody.placeholder, () => inBody.value))
    expect(answer.body.toString()).toBe('{"access_token":"minted"}')
  })

  it('OpenShell#1891: a value goes to the hosts of its secret and to no other that the program talks to', async () => {
    expect((await send(rig, { host: OTHER, path: '/envelope', headers: bearer() })).error?.code).toBe(
      'host_not_allowed',
    )
    expect(rig.upstream.connections).toBe(0)
  })

  it('OpenShell#1891: a value that looks like a placeholder is not expanded, because it cannot be stored', async () => {
    await expect(known('nested', ['body'], `x${inBody.placeholder}`)).rejects.toMatchObject({ code: 'invalid_input' })
  })
})

describe('upgrades', () => {
  const agreed =
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\nX-B: 2\r\n\r\n'

  it.each([
    ['passed as they are', false],
    ['looked at', true],
  ])('OpenShell#652, gondolin#83, nanoclaw#3843: an upgrade whose messages are %s', async (_name, released) => {
    const upstream = new Promise<string>((resolve) => {
      rig.upstream.takeRaw(async (wire) => {
        const { fields } = await wire.head()
        wire.write(Buffer.concat([Buffer.from(agreed), frameBytes({ payload: 'from upstream' })]))
        await until(() => readFrames(wire.unread).length === 1)
        const asked = [...valuesOf(fields, 'connection'), ...valuesOf(fields, 'upgrade')]
        resolve([...asked, textOf(readFrames(wire.unread))].join(' '))
      })
    })
    // A sandbox with a secret for messages has them looked at; one without does not.
    const sandbox = released ? rig.sandbox : await rig.sandboxWith('plain-talker', { KEY: 'openai' })
    const wire = await openWire(rig, { sandbox })
    const chunks: Buffer[] = []
    wire.socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    wire.write(headText(rig, 'GET /', HANDSHAKE))
    expect((await wire.head()).status).toBe(101)
    // One record for the whole head: some clients take one that trickles for an attack.
    expect(chunks[0]?.toString('latin1')).toMatch(/^HTTP\/1\.1 101 [^]*X-B: 2\r\n[^]*\r\n\r\n/)
    await until(() => readFrames(wire.unread).length === 1)
    expect(textOf(readFrames(wire.unread))).toBe('from upstream')
    wire.write(
      frameBytes({ payload: `to upstream ${released ? inMessages.placeholder : ''}`, key: Buffer.from('key!') }),
    )
    expect(await upstream).toBe(`Upgrade websocket to upstream ${released ? inMessages.value : ''}`)
    wire.socket.destroy()
  })

  it('nanoclaw#3843: an answer that is unpacked on the way is framed, and the connection goes on', async () => {
    rig.upstream.answerWith((_request, response) => {
      const packed = gzipSync('packed, though nobody asked')
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length }).end(packed)
    })
    const wire = await openWire(rig)
    for (let i = 0; i < 2; i += 1) {
      wire.write(headText(rig, 'GET /', bearer()))
      const { framing, fields, body } = await wire.message()
      expect([framing, valuesOf(fields, 'content-encoding'), body.toString()]).toEqual([
        'chunked',
        [],
        'packed, though nobody asked',
      ])
    }
    // And one that nothing was released on stays packed, with its length.
    wire.write(headText(rig, 'GET /'))
    const { framing, body } = await wire.message()
    expect([framing, gunzipSync(body).toString()]).toEqual(['length', 'packed, though nobody asked'])
    wire.socket.destroy()
  })
})

const CRLF = Buffer.from('\r\n')
