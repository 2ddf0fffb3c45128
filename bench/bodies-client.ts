/**
 * The load of `bodies.ts`, with the options and the output of node-client.ts: requests on so many streams of one HTTP/2
 * connection or on so many HTTP/1.1 connections (--protocol), or one upload (--upload) in chunks that ends in --tail,
 * after which the origin must have counted --expect bytes.
 */
import { once } from 'node:events'
import http, { Agent, type IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import { parseArgs } from 'node:util'
import { openTunnel } from './tunnel.ts'

const TEXT = { type: 'string', default: '' } as const
const { values } = parseArgs({
  options: {
    protocol: { type: 'string', default: 'http/1.1' },
    tail: TEXT,
    expect: { type: 'string', default: '0' },
    target: TEXT,
    ca: TEXT,
    proxy: TEXT,
    'connect-header': TEXT,
    mode: TEXT,
    connections: { type: 'string', default: '1' },
    secs: { type: 'string', default: '3' },
    warm: { type: 'string', default: '0.4' },
    count: { type: 'string', default: '0' },
    path: { type: 'string', default: '/' },
    header: { type: 'string', multiple: true, default: [] },
    upload: { type: 'string', default: '0' },
  },
})

const [host = '', port = ''] = values.target.split(':')
const headers: Record<string, string> = {}
for (const line of values.header) {
  const colon = line.indexOf(': ')
  headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 2)
}
const figures = { total: 0, bytes: 0, open: 0, errors: 0, refused: 0, firstError: '' }
const times: number[] = []
const began = performance.now()
const until = began + (Number(values.warm) + Number(values.secs)) * 1000

class OneConnection extends Agent {
  readonly #socket: Awaited<ReturnType<typeof tunnel>>

  constructor(socket: Awaited<ReturnType<typeof tunnel>>) {
    super({ keepAlive: true, maxSockets: 1 })
    this.#socket = socket
  }

  override createConnection() {
    return this.#socket
  }
}

function tunnel(protocol: 'h2' | 'http/1.1') {
  return openTunnel({
    target: values.target,
    ca: values.ca,
    proxy: values.proxy,
    identity: values['connect-header'],
    protocol,
  })
}

/** Until the time is up, each of them one request after the other. */
async function repeat(request: () => Promise<number>): Promise<void> {
  while (performance.now() < until) {
    const asked = performance.now()
    const status = await request()
    if (status !== 200) throw new Error(`status ${status}`)
    times.push(performance.now() - asked)
    figures.total += 1
  }
}

async function overHttp1(count: number): Promise<void> {
  const work = async () => {
    const agent = new OneConnection(await tunnel('http/1.1'))
    await repeat(async () => {
      const request = http.request({ agent, host, port, path: values.path, headers }).end()
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      await once(response.resume(), 'end')
      return response.statusCode ?? 0
    })
    agent.destroy()
  }
  await Promise.all(Array.from({ length: count }, work))
}

async function overHttp2(count: number): Promise<void> {
  const socket = await tunnel('h2')
  const session = http2.connect(`https://${values.target}`, { createConnection: () => socket })
  const work = () =>
    repeat(async () => {
      const stream = session.request({ ':path': values.path, ...headers })
      const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      await once(stream.resume(), 'end')
      return Number(answer[':status'])
    })
  await Promise.all(Array.from({ length: count }, work))
  session.destroy()
}

/** Without a Content-Length: the length after the swap is not known to who sends it. */
async function upload(bytes: number): Promise<void> {
  const agent = new OneConnection(await tunnel('http/1.1'))
  const request = http.request({ agent, host, port, path: values.path, method: 'POST', headers })
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  const chunk = Buffer.alloc(65_536, 'some words of a long text, ')
  for (let sent = 0; sent < bytes; sent += chunk.length) {
    if (!request.write(chunk.subarray(0, bytes - sent))) await once(request, 'drain')
  }
  request.end(values.tail)
  const [response] = await answered
  const counted = Number((await response.toArray()).join(''))
  if (counted !== Number(values.expect)) throw new Error(`${counted} bytes arrived instead of ${values.expect}`)
  figures.total = 1
  figures.bytes = bytes
  agent.destroy()
}

function percentile(share: number): number {
  return times.sort((a, b) => a - b)[Math.floor(share * (times.length - 1) + 0.5)] ?? 0
}

try {
  if (Number(values.upload) > 0) await upload(Number(values.upload))
  else if (values.protocol === 'h2') await overHttp2(Number(values.connections))
  else await overHttp1(Number(values.connections))
} catch (error) {
  figures.errors += 1
  figures.firstError = error instanceof Error ? error.message : String(error)
}
const seconds = (performance.now() - began) / 1000
const rates = { seconds, perSecond: figures.total / seconds, p50Ms: percentile(0.5), p99Ms: percentile(0.99) }
process.stdout.write(`${JSON.stringify({ ...figures, ...rates, handshakeP50Ms: 0 })}\n`)
process.exit(0)
