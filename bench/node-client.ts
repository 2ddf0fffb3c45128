/**
 * The load generator for machines without a C compiler: the options and the output of loadgen/client.c. It costs more
 * CPU than most of what it measures, so its rates are its own; CPU per request of the proxy still holds.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http, { Agent, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import tls from 'node:tls'
import { parseArgs } from 'node:util'

const TEXT = { type: 'string' } as const
const { values } = parseArgs({
  options: {
    target: { ...TEXT, default: '' },
    ca: { ...TEXT, default: '' },
    proxy: TEXT,
    'connect-header': { ...TEXT, default: '' },
    mode: { ...TEXT, default: 'ka' },
    connections: { ...TEXT, default: '1' },
    secs: { ...TEXT, default: '3' },
    warm: { ...TEXT, default: '0.5' },
    count: { ...TEXT, default: '0' },
    path: { ...TEXT, default: '/' },
    header: { ...TEXT, multiple: true, default: [] },
    upload: { ...TEXT, default: '0' },
  },
})

const [host = '', port = ''] = values.target.split(':')
const count = Number(values.count)
const upload = Number(values.upload)
const ca = readFileSync(values.ca)
const headers = Object.fromEntries(values.header.map((line) => line.split(/: (.*)/s).slice(0, 2))) as Record<
  string,
  string
>
const chunk = Buffer.alloc(65_536, 'u')

const requests: number[] = []
const handshakes: number[] = []
const figures = { total: 0, bytes: 0, open: 0, errors: 0, refused: 0, firstError: '' }
let since = performance.now()
const warmUntil = since + Number(values.warm) * 1000
const until = warmUntil + Number(values.secs) * 1000
let measuring = count > 0

function isOver(): boolean {
  return count > 0 ? figures.total >= count : performance.now() >= until
}

async function openConnection(): Promise<Socket> {
  const began = performance.now()
  const [proxyHost, proxyPort] = (values.proxy ?? `127.0.0.1:${port}`).split(':')
  const plain = connect({ host: proxyHost ?? '', port: Number(proxyPort), noDelay: true })
  await once(plain, 'connect')
  if (values.proxy !== undefined) await openTunnel(plain)
  const secure = tls.connect({ socket: plain, servername: host, ca, ALPNProtocols: ['http/1.1'] })
  await once(secure, 'secureConnect')
  handshakes.push(performance.now() - began)
  return secure
}

async function openTunnel(socket: Socket): Promise<void> {
  const identity = values['connect-header'] === '' ? '' : `${values['connect-header']}\r\n`
  socket.write(`CONNECT ${values.target} HTTP/1.1\r\nHost: ${values.target}\r\n${identity}\r\n`)
  let answer = ''
  while (!answer.includes('\r\n\r\n')) answer += String((await once(socket, 'data'))[0])
  socket.pause()
  if (!answer.startsWith('HTTP/1.1 200')) throw new Error(`CONNECT: ${answer.split('\r\n')[0]}`)
}

/** One request on a connection of its own; the agent hands out that one and keeps it. */
async function exchange(agent: Agent): Promise<void> {
  const began = performance.now()
  const request = http.request({
    agent,
    host,
    port,
    path: values.path,
    method: upload > 0 ? 'POST' : 'GET',
    headers: { ...headers, ...(upload > 0 && { 'content-length': upload }) },
  })
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  for (let sent = 0; sent < upload; sent += chunk.length) {
    if (!request.write(chunk.subarray(0, upload - sent))) await once(request, 'drain')
  }
  request.end()
  const [response] = await answered
  let bytes = upload
  response.on('data', (part: Buffer) => {
    bytes += part.length
  })
  await once(response, 'end')
  if (response.statusCode !== 200) noteError(new Error(`status ${response.statusCode}`), 'refused')
  record(performance.now() - began, bytes)
}

function record(took: number, bytes: number): void {
  if (!measuring && performance.now() >= warmUntil) {
    measuring = true
    since = performance.now()
    requests.length = 0
    figures.bytes = 0
  }
  figures.total += 1
  figures.bytes += bytes
  requests.push(took)
}

function noteError(error: unknown, kind: 'errors' | 'refused'): void {
  figures[kind] += 1
  if (figures.firstError === '') figures.firstError = error instanceof Error ? error.message : String(error)
}

class OneConnection extends Agent {
  readonly #socket: Socket

  constructor(socket: Socket) {
    super({ keepAlive: true, maxSockets: 1 })
    this.#socket = socket
  }

  override createConnection(): Socket {
    return this.#socket
  }
}

/** One connection after the other in `new`, else the same one for all requests. */
async function work(): Promise<Socket | null> {
  try {
    do {
      const socket = await openConnection()
      const agent = new OneConnection(socket)
      do await exchange(agent)
      while (values.mode === 'ka' && !isOver())
      if (values.mode === 'idle') return socket
      socket.destroy()
    } while (values.mode === 'new' && !isOver())
  } catch (error) {
    noteError(error, 'errors')
  }
  return null
}

function percentile(samples: number[], share: number): number {
  samples.sort((a, b) => a - b)
  return samples[Math.floor(share * (samples.length - 1) + 0.5)] ?? 0
}

const open: Socket[] = []
if (values.mode === 'idle') {
  for (let i = 0; i < Number(values.connections); i += 1) open.push(...[await work()].filter((each) => each !== null))
} else await Promise.all(Array.from({ length: Number(values.connections) }, work))
const seconds = (performance.now() - since) / 1000
const printed = {
  ...figures,
  open: open.length,
  seconds,
  perSecond: requests.length / seconds,
  p50Ms: percentile(requests, 0.5),
  p99Ms: percentile(requests, 0.99),
  handshakeP50Ms: percentile(handshakes, 0.5),
}
process.stdout.write(`${JSON.stringify(printed)}\n`)
if (values.mode === 'idle') await once(process.stdin.resume(), 'end')
for (const socket of open) socket.destroy()
