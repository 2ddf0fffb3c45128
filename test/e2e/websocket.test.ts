/**
 * WebSocket. The handshake is decided on like any request and may carry values; once the upstream agreed, messages pass
 * both ways, and nothing is put into them unless a secret says so (websocket-messages.test.ts). Whatever else the upstream
 * answers is an ordinary, masked response. Either side may close, and no socket outlives its sandbox.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { ALLOWED, OTHER, Rig, type RigSandbox } from '../support/rig.ts'
import { headText, openProxy, openTls, openWire, proxyAuthorization } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire } from '../support/wire.ts'

let rig: Rig
let server: WebSocketServer
/** The upstream's side of each socket. */
let accepted: WebSocket[]

beforeAll(async () => {
  rig = await Rig.start()
})
beforeEach(() => {
  accepted = []
  server = new WebSocketServer({ noServer: true, maxPayload: 0, handleProtocols: (names) => [...names][0] ?? false })
  server.on('connection', (socket) => {
    accepted.push(socket)
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
  })
  for (const upstream of [rig.upstream, rig.plain]) {
    upstream.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      server.handleUpgrade(request, socket, head, (each) => server.emit('connection', each, request))
    })
  }
})
afterEach(async () => {
  for (const upstream of [rig.upstream, rig.plain]) {
    upstream.server.removeAllListeners('upgrade')
    upstream.clear()
    await until(() => upstream.sockets.size === 0)
  }
})
afterAll(async () => {
  await rig.stop()
})

interface Opening {
  readonly host?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly sandbox?: RigSandbox
  readonly protocols?: string[]
}

/** A WebSocket client inside a tunnel. */
async function dial({ host = ALLOWED, path = '/ws', headers = {}, sandbox, protocols = [] }: Opening = {}) {
  const socket = await openTls(rig, host, sandbox === undefined ? {} : { sandbox })
  socket.on('data', (chunk: Buffer) => rig.seen.push(chunk))
  const url = `wss://${host}:${rig.upstream.port}${path}`
  return new WebSocket(url, protocols, { createConnection: () => socket, headers, perMessageDeflate: false })
}

/** The handshake's own answer: `open`, or the status it was refused with. */
function settled(client: WebSocket): Promise<{ status: number; headers: IncomingMessage['headers']; body: string }> {
  return new Promise((resolve, reject) => {
    client.once('open', () => resolve({ status: 101, headers: {}, body: '' }))
    client.once('error', reject)
    client.once('unexpected-response', (_request, response: IncomingMessage) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString('latin1')
      })
      response.once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    })
  })
}

function nextMessage(client: WebSocket): Promise<Buffer> {
  return new Promise((resolve) => client.once('message', (data) => resolve(data as Buffer)))
}

const credential = () => ({ Authorization: `Bearer ${rig.secret.placeholder}` })
const closedWith = (socket: WebSocket) =>
  new Promise<[number, string]>((resolve) =>
    socket.once('close', (code, reason) => resolve([code, reason.toString('utf8')])),
  )

/** The fields of a handshake, written by hand. */
const handshake = (key = 'dGhlIHNhbXBsZSBub25jZQ==') =>
  `Connection|Upgrade|Upgrade|websocket|Sec-WebSocket-Version|13|Sec-WebSocket-Key|${key}`.split('|')

describe('a handshake', () => {
  it('has its placeholder swapped, is recorded first, and opens the socket', async () => {
    let seen: IncomingMessage | undefined
    server.once('connection', (_socket, request: IncomingMessage) => {
      seen = request
    })
    const client = await dial({ headers: { ...credential(), Origin: 'https://app.test' }, path: '/a%2Fb?c=d' })
    expect((await settled(client)).status).toBe(101)
    expect(seen?.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect([seen?.url, seen?.headers.origin]).toEqual(['/a%2Fb?c=d', 'https://app.test'])
    expect((await rig.events()).findLast((event) => event.kind === 'release')?.path).toBe('/a%2Fb')
    client.close()
    const event = await until(async () =>
      (await rig.events()).find((e) => e.kind === 'exchange' && e.path === '/a%2Fb'),
    )
    expect(event).toMatchObject({ decision: 'released', status: 101, reason: null })
  })

  it('keeps names in order and case, and adds Via', async () => {
    const client = await dial({ headers: { 'X-ZULU': '1', 'x-alpha': '2' } })
    await settled(client)
    const names = rig.upstream.received
      .toString('latin1')
      .split('\r\n')
      .map((line) => line.split(':')[0])
    expect(names.indexOf('X-ZULU')).toBeGreaterThan(0)
    expect(names.indexOf('x-alpha')).toBe(names.indexOf('X-ZULU') + 1)
    expect(names).toContain('via')
    client.terminate()
  })

  it('keeps repeated names, however they are spelled', async () => {
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /ws', [...handshake(), 'Cookie', 'a=1', 'X-Two', '1', 'cookie', 'b=2', 'x-TWO', '2']))
    expect((await wire.head()).status).toBe(101)
    const lines = rig.upstream.received.toString('latin1').split('\r\n')
    expect(lines.filter((line) => /^(cookie|x-two)/i.test(line))).toEqual(['Cookie: a=1; b=2', 'X-Two: 1', 'X-Two: 2'])
    wire.socket.destroy()
  })

  it('agrees on a subprotocol', async () => {
    const client = await dial({ protocols: ['chat.v2', 'chat.v1'] })
    await settled(client)
    expect(client.protocol).toBe('chat.v2')
    client.terminate()
  })

  it('is refused with 403 and the reason, and nothing is dialled', async () => {
    const answer = await settled(await dial({ host: OTHER, headers: credential() }))
    expect([answer.status, answer.headers['coatcheck-error']]).toEqual([403, 'host_not_allowed'])
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'host_not_allowed' } })
    expect(rig.upstream.connections).toBe(0)
  })

  it('that the upstream answers otherwise gets that answer, masked', async () => {
    rig.upstream.server.removeAllListeners('upgrade')
    rig.upstream.answerWith((request, response) => {
      response.writeHead(401, 'Not You', { 'X-Seen': request.headers.authorization })
      response.end(`who is ${request.headers.authorization}?`)
    })
    const answer = await settled(await dial({ headers: credential() }))
    expect([answer.status, answer.headers['x-seen']]).toEqual([401, `Bearer ${rig.secret.placeholder}`])
    expect(answer.body).toBe(`who is Bearer ${rig.secret.placeholder}?`)
  })

  it('that the upstream breaks off is answered 502', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.socket.destroy()
    })
    const answer = await settled(await dial({ headers: credential() }))
    expect([answer.status, answer.headers['coatcheck-error']]).toEqual([502, 'upstream_failed'])
  })

  it('that the sandbox gives up is given up upstream', async () => {
    const asked = new Promise<Wire>((resolve) => rig.upstream.takeRaw(resolve))
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /given-up', handshake()))
    const upstream = await asked
    await upstream.head()
    wire.socket.destroy()
    await upstream.closed
    const event = await until(async () =>
      (await rig.events()).find((e) => e.kind === 'exchange' && e.path === '/given-up'),
    )
    expect(event).toMatchObject({ decision: 'failed', reason: 'client_aborted', status: null })
  })

  it('has the head of its 101 masked, in one piece, with the first frame behind it', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nAlt-Svc: h3\r\nX-Seen: ${rig.value}`
      upstream.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n\x81\x0bfirst frame`)
    })
    const wire = await openWire(rig)
    const chunks: Buffer[] = []
    wire.socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    wire.write(headText(rig, 'GET /', [...handshake(), ...Object.entries(credential()).flat()]))
    const head = await wire.head()
    expect(head.status).toBe(101)
    expect(chunks[0]?.indexOf('\r\n\r\n')).toBeGreaterThan(0)
    expect(valuesOf(head.fields, 'x-seen')).toEqual([rig.secret.placeholder])
    expect(valuesOf(head.fields, 'alt-svc')).toEqual([])
    expect((await wire.take(13)).toString('latin1')).toBe('\x81\x0bfirst frame')
    wire.socket.destroy()
  })

  it.each([
    { name: 'no version', fields: ['Connection', 'Upgrade', 'Upgrade', 'websocket'] },
    { name: 'a short key', fields: handshake('short') },
    { name: 'another protocol', fields: ['Connection', 'Upgrade', 'Upgrade', 'h2c'] },
  ])('with $name is an ordinary request', async ({ fields }) => {
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /', fields))
    expect((await wire.message()).body.toString()).toBe('ok')
    expect(rig.upstream.last.headers.upgrade).toBeUndefined()
    wire.socket.destroy()
  })

  it('in absolute form goes to a plain upstream, and never with a value', async () => {
    for (const { fields, status } of [
      { fields: [], status: 101 },
      { fields: Object.entries(credential()).flat(), status: 403 },
    ]) {
      const wire = await openProxy(rig)
      const host = `${ALLOWED}:${rig.plain.port}`
      const all = [...handshake(), ...proxyAuthorization(rig.sandbox), ...fields]
      const lines = all.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join('')
      wire.write(`GET http://${host}/ws HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n`)
      expect((await wire.head()).status).toBe(status)
      wire.socket.destroy()
    }
    expect(rig.plain.received.toString('latin1')).not.toMatch(/proxy-auth/i)
    expect(accepted).toHaveLength(1)
  })
})

describe('an open socket', () => {
  it('passes frames both ways, text and binary, small and large', async () => {
    const client = await dial({ headers: credential() })
    await settled(client)
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 8_000_000]) {
      const data = Buffer.alloc(size, size & 0xff)
      const answer = nextMessage(client)
      client.send(data)
      expect((await answer).equals(data)).toBe(true)
    }
    const answer = nextMessage(client)
    client.send('text: ünïcode')
    expect((await answer).toString('utf8')).toBe('text: ünïcode')
    client.terminate()
  })

  it('passes what the upstream sends first', async () => {
    server.on('connection', (socket) => socket.send('hello'))
    const client = await dial()
    expect((await nextMessage(client)).toString()).toBe('hello')
    client.terminate()
  })

  it('does not swap a placeholder in a frame', async () => {
    const client = await dial({ headers: credential() })
    await settled(client)
    const answer = nextMessage(client)
    client.send(rig.secret.placeholder)
    expect((await answer).toString()).toBe(rig.secret.placeholder)
    client.terminate()
  })

  it('closed by the sandbox closes upstream with the same code', async () => {
    const client = await dial()
    await settled(client)
    const closed = closedWith(await until(() => accepted[0]))
    client.close(4001, 'done here')
    expect(await closed).toEqual([4001, 'done here'])
    await until(() => rig.upstream.sockets.size === 0)
  })

  it('closed by the upstream closes at the sandbox with the same code', async () => {
    const client = await dial()
    await settled(client)
    const closed = closedWith(client)
    ;(await until(() => accepted[0])).close(4002, 'maintenance')
    expect(await closed).toEqual([4002, 'maintenance'])
  })

  it.each(['sandbox', 'upstream'])('cut by the %s is cut at the other side', async (side) => {
    const client = await dial()
    await settled(client)
    const other = await until(() => accepted[0])
    const [cut, left] = side === 'sandbox' ? [client, other] : [other, client]
    const closed = closedWith(left)
    cut.terminate()
    expect((await closed)[0]).toBe(1006)
  })

  it('does not outlive its sandbox', async () => {
    const sandbox = await rig.sandboxWith(`doomed-${crypto.randomUUID()}`, { KEY: 'openai' })
    const client = await dial({ sandbox, headers: credential() })
    await settled(client)
    const closed = [closedWith(client), closedWith(await until(() => accepted[0]))]
    await rig.app.data.sandboxes.delete(rig.principal, sandbox.name)
    expect((await Promise.all(closed)).map(([code]) => code)).toEqual([1006, 1006])
  })
})
