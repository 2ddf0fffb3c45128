/**
 * What a sandbox can put into an HTTP/2 request to be taken for another host, another request or another protocol: each
 * stream is judged by itself, and nothing malformed reaches an upstream.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { closingEvent, outcome } from '../support/audited.ts'
import { H2Sandbox, openFrames } from '../support/h2-sandbox.ts'
import { H2Upstream } from '../support/h2-upstream.ts'
import { END_HEADERS, END_STREAM, FRAME, frame, headers } from '../support/h2-wire.ts'
import { OTHER, Rig } from '../support/rig.ts'
import { openTls } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'

let rig: Rig
let h2: H2Upstream
beforeAll(async () => {
  h2 = await H2Upstream.start(['h2', 'http/1.1'])
  rig = await Rig.start({ ports: [h2.port] })
  h2.certifiedBy(rig.authority)
})
afterEach(async () => {
  rig.upstream.clear()
  h2.clear()
  await until(() => rig.upstream.sockets.size + h2.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
  await h2.stop()
})

const authority = () => `api.test:${h2.port}`
const credential = () => ['authorization', `Bearer ${rig.secret.placeholder}`]
const head = (overrides: Readonly<Record<string, string>> = {}) => {
  const fields = { ':method': 'GET', ':scheme': 'https', ':authority': authority(), ':path': '/', ...overrides }
  return Object.entries(fields).flat()
}

/** Frames of one connection, then a sound request; what the proxy said to the first, and whether it lives. */
async function afterwards(...bytes: readonly Buffer[]): Promise<{ reset: number | null; status: string }> {
  const wire = await openFrames(rig, { port: h2.port })
  wire.write(...bytes)
  await until(() => wire.isClosed || wire.frames.some((each) => each.stream === 1 || each.type === FRAME.goaway))
  const reset = wire.frames.find((each) => each.type === FRAME.reset && each.stream === 1)
  wire.socket.destroy()
  const client = await H2Sandbox.open(rig, { port: h2.port })
  const { status } = await client.ask({ path: '/alive' })
  client.close()
  return { reset: reset?.payload.readUInt32BE(0) ?? null, status: String(status) }
}

const onlyAlive = () =>
  h2.requests.every((each) => each.headers[':path'] === '/alive') && rig.upstream.requests.length === 0

describe('A06 an :authority other than the tunnel’s', () => {
  it.each([
    ['another host', () => `${OTHER}:${h2.port}`],
    ['another port', () => 'api.test:444'],
    ['no port', () => 'api.test'],
    ['a host below', () => `x.api.test:${h2.port}`],
  ])('A06 %s is answered 421 on its stream, and the next stream is not harmed', async (_name, other) => {
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const path = `/a06-${encodeURIComponent(other())}`
    const answer = await client.ask({ authority: other(), path, headers: credential() })
    expect(answer).toMatchObject({ status: 421, error: { code: 'misdirected' } })
    expect(await outcome(rig, { requestId: answer.error?.requestId ?? '' })).toMatchObject({ reason: 'misdirected' })
    expect((await client.ask()).status).toBe(200)
    expect(h2.requests).toHaveLength(1)
    client.close()
  })

  it('A06 after streams that were right is still judged', async () => {
    const client = await H2Sandbox.open(rig, { port: h2.port })
    await client.ask({ headers: credential() })
    const answers = await Promise.all([
      client.ask({ headers: credential() }),
      client.ask({ authority: `${OTHER}:${h2.port}`, headers: credential() }),
      client.ask({ headers: credential() }),
    ])
    expect(answers.map(({ status }) => status)).toEqual([200, 421, 200])
    client.close()
  })

  it.each([
    'user@api.test',
    'api.test%2eevil.test',
    'api.test\\evil.test',
    'api.test/evil',
    'api.test?',
    'API.TEST,evil.test',
  ])('A06 that is no host, %s, is refused', async (text) => {
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const answer = await client.ask({ authority: text }).catch((error: Error) => error.message)
    if (typeof answer === 'string') expect(answer).toContain('reset')
    else expect(answer.status).toBe(400)
    expect(h2.requests).toHaveLength(0)
    client.close()
  })
})

describe('A07 :authority and host', () => {
  it.each([
    ['another host', () => ['host', OTHER]],
    ['the same host, written otherwise', () => ['host', authority().toUpperCase()]],
    ['two hosts', () => ['host', authority(), 'host', OTHER]],
  ])('A07 that differ (%s) are refused as a bad request', async (_name, fields) => {
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const answer = await client.ask({ headers: [...fields(), ...credential()] }).catch((error: Error) => error.message)
    if (typeof answer === 'string') expect(answer).toContain('reset')
    else expect(answer).toMatchObject({ status: 400, error: { code: 'bad_request' } })
    expect(h2.requests).toHaveLength(0)
    client.close()
  })

  it('A07 that agree are one', async () => {
    const client = await H2Sandbox.open(rig, { port: h2.port })
    expect((await client.ask({ headers: ['host', authority()] })).status).toBe(200)
    expect(h2.last.headers).toMatchObject({ ':authority': authority() })
    expect(h2.last.headers).not.toHaveProperty('host')
    client.close()
  })

  it('A07 with host alone is judged by it', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    const alone = (host: string) => [':method', 'GET', ':scheme', 'https', ':path', '/', 'host', host]
    wire.write(headers(1, alone(authority())), headers(3, alone(OTHER)))
    await until(() => wire.frames.filter((each) => each.type === FRAME.headers).length === 2)
    expect(h2.requests.map((each) => each.headers[':authority'])).toEqual([authority()])
    wire.socket.destroy()
  })
})

describe('D17 tunnels in streams', () => {
  it('D17 CONNECT is refused', async () => {
    const wire = await openFrames(rig, { port: h2.port })
    wire.write(headers(1, [':method', 'CONNECT', ':authority', `${OTHER}:443`], END_HEADERS))
    const answer = await wire.next(FRAME.headers)
    expect(answer.payload.toString('latin1')).not.toContain('200')
    expect(
      await until(async () =>
        (await rig.events()).find((event) => event.kind === 'exchange' && event.method === 'CONNECT'),
      ),
    ).toMatchObject({
      reason: 'method_not_allowed',
      status: 405,
    })
    wire.socket.destroy()
  })

  it('D17 extended CONNECT (RFC 8441) is not offered and not taken', async () => {
    const extended = [...head({ ':method': 'CONNECT' }), ':protocol', 'websocket']
    expect(await afterwards(headers(1, extended))).toMatchObject({ reset: 1, status: '200' })
    expect(onlyAlive()).toBe(true)
  })
})

const MALFORMED: readonly (readonly [string, () => readonly string[]])[] = [
  ['a :path with a blank', () => head({ ':path': '/a b' })],
  ['a :path with a line break and a request', () => head({ ':path': '/ HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /x' })],
  ['a :path with a byte outside ASCII', () => head({ ':path': '/\xe9' })],
  ['a :path with a fragment', () => head({ ':path': '/#x' })],
  ['a :path that is a URL', () => head({ ':path': 'https://evil.test/' })],
  ['a :path that is another’s authority', () => head({ ':path': '*' })],
  ['an empty :path', () => head({ ':path': '' })],
  ['no :path', () => head().slice(0, 6)],
  ['two :path', () => [...head(), ':path', '/b']],
  ['a :method with a request in it', () => head({ ':method': 'GET / HTTP/1.1\r\nHost: evil.test\r\nX:' })],
  ['an empty :method', () => head({ ':method': '' })],
  ['a :scheme of http', () => head({ ':scheme': 'http' })],
  ['a :scheme of file', () => head({ ':scheme': 'file' })],
  ['a :status', () => [...head(), ':status', '200']],
  ['an unknown pseudo-header field', () => [...head(), ':evil', '1']],
  ['a pseudo-header field behind the others', () => [...head().slice(0, 6), 'x-a', '1', ':path', '/']],
  ['a name in upper case', () => [...head(), 'X-Upper', '1']],
  ['Connection', () => [...head(), 'connection', 'close']],
  ['Transfer-Encoding', () => [...head({ ':method': 'POST' }), 'transfer-encoding', 'chunked']],
  ['Keep-Alive', () => [...head(), 'keep-alive', '5']],
  ['Upgrade', () => [...head(), 'upgrade', 'websocket']],
  ['Proxy-Connection', () => [...head(), 'proxy-connection', 'keep-alive']],
  ['TE of anything but trailers', () => [...head(), 'te', 'gzip']],
  ['two Content-Length', () => [...head(), 'content-length', '0', 'content-length', '1']],
  ['a Content-Length that is no number', () => [...head(), 'content-length', '+0']],
  ['a Content-Length that the body has not', () => [...head(), 'content-length', '5']],
]

describe('D14 a request that HTTP/1.1 would read as another', () => {
  it.each(MALFORMED)('D14 with %s does not leave', async (_name, fields) => {
    const { status } = await afterwards(headers(1, fields()))
    expect(status).toBe('200')
    expect(onlyAlive()).toBe(true)
  })

  it.each(['x:y', 'x\r\ny', ''])('D14 a field whose name is %j does not arrive', async (name) => {
    const client = await openFrames(rig, { port: h2.port })
    client.write(headers(1, [...head(), name, 'x-evil']))
    await client.next(FRAME.headers)
    expect(h2.last.fields).not.toContain('x-evil')
    client.socket.destroy()
  })

  it.each(['a\r\nx-evil: 1', 'a\nx-evil: 1', 'a\0x-evil', 'a\rb'])(
    'D14 a value of %j does not arrive',
    async (value) => {
      const wire = await openFrames(rig)
      const fields = [...head({ ':authority': `api.test:${rig.upstream.port}` }), 'x-value', value]
      wire.write(headers(1, fields))
      await until(() => wire.isClosed || wire.frames.some((each) => each.stream === 1))
      expect(rig.upstream.received.toString('latin1')).not.toMatch(/x-evil|x-value/)
      wire.socket.destroy()
    },
  )

  it('D14 a shorter or longer body than its Content-Length is never a whole request upstream', async () => {
    const wire = await openFrames(rig)
    const fields = [
      ...head({ ':method': 'POST', ':authority': `api.test:${rig.upstream.port}` }),
      'content-length',
      '10',
    ]
    wire.write(headers(1, fields, END_HEADERS), frame(FRAME.data, END_STREAM, 1, 'short'))
    wire.write(headers(3, fields, END_HEADERS), frame(FRAME.data, END_STREAM, 3, 'much longer than that'))
    await until(() => wire.isClosed || wire.frames.filter((each) => each.type === FRAME.reset).length === 2)
    expect(rig.upstream.requests.filter((each) => each.body.length > 0)).toEqual([])
    wire.socket.destroy()
  })
})

describe('D06 trailers of a request', () => {
  it.each(['h1', 'h2'] as const)('D06 end here, placeholder or not, towards %s', async (upstream) => {
    const port = upstream === 'h1' ? rig.upstream.port : h2.port
    const wire = await openFrames(rig, { port })
    const path = `/d06-${upstream}`
    const post = head({ ':method': 'POST', ':authority': `api.test:${port}`, ':path': path })
    wire.write(headers(1, [...post, ...credential()], END_HEADERS), frame(FRAME.data, 0, 1, 'body'))
    wire.write(headers(1, ['x-trailer', rig.secret.placeholder, 'authorization', 'late']))
    await closingEvent(rig, { path })
    const body = upstream === 'h1' ? rig.upstream.last.body : h2.last.body
    expect(body.toString()).toBe('body')
    expect(upstream === 'h1' ? rig.upstream.received.toString('latin1') : h2.last.trailers.join()).not.toContain(
      'x-trailer',
    )
    wire.socket.destroy()
  })
})

it('A39 HTTP/2 where HTTP/1.1 was agreed on is a bad request, and HTTP/1.1 where HTTP/2 was closes the connection', async () => {
  const h1 = await openTls(rig, 'api.test', { ALPNProtocols: ['http/1.1'] })
  h1.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  const refusal = await new Promise<string>((resolve) => h1.once('data', (chunk: Buffer) => resolve(chunk.toString())))
  expect(refusal).toMatch(/^HTTP\/1\.1 400 /)
  h1.destroy()
  const wire = await openFrames(rig)
  wire.socket.destroy()
  const plain = await openTls(rig, 'api.test', { ALPNProtocols: ['h2'] })
  plain.on('error', () => undefined)
  const closed = new Promise((resolve) => plain.once('close', resolve))
  plain.resume().write(`GET / HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n\r\n`)
  await closed
  expect(rig.upstream.requests).toHaveLength(0)
})
