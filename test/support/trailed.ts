/** A request with trailers over HTTP/1.1 or HTTP/2, from a sandbox to an upstream, and what either kind of upstream got. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Protocol } from './either-protocol.ts'
import { H2Sandbox } from './h2-sandbox.ts'
import type { H2Request, H2Upstream } from './h2-upstream.ts'
import type { Rig, RigSandbox } from './rig.ts'
import { openTls } from './sandbox-client.ts'
import { Wire } from './wire.ts'

export interface TrailedAsk {
  readonly sandbox: RigSandbox
  readonly host?: string
  /** Raw pairs; Host and framing are added. */
  readonly headers?: readonly string[]
  /** One chunk or DATA frame each. */
  readonly body?: readonly string[]
  /** Raw pairs. */
  readonly trailers: readonly string[]
  /** Waits with the trailers for the first byte of the answer's body. */
  readonly onceAnswered?: boolean
}

export interface TrailedAnswer {
  /** Null when the exchange was cut. */
  readonly status: number | null
  readonly code: string | undefined
  readonly body: string
  readonly trailers: readonly string[]
}

const CUT: TrailedAnswer = { status: null, code: undefined, body: '', trailers: [] }

/** Asks on a connection of its own. */
export function askTrailed(protocol: Protocol, rig: Rig, port: number, ask: TrailedAsk): Promise<TrailedAnswer> {
  return (protocol === 'h1' ? askH1(rig, port, ask) : askH2(rig, port, ask)).catch(() => CUT)
}

async function askH1(rig: Rig, port: number, ask: TrailedAsk): Promise<TrailedAnswer> {
  const { sandbox, host = 'api.test', headers = [], body = ['body'], trailers } = ask
  const socket = await openTls(rig, host, { port, sandbox })
  const wire = new Wire(socket, (chunk) => rig.seen.push(chunk))
  const fields = ['Host', `${host}:${port}`, ...headers, 'Transfer-Encoding', 'chunked']
  wire.write(`POST /trailed HTTP/1.1\r\n${lines(fields)}\r\n`)
  for (const chunk of body) wire.write(`${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`)
  const end = `0\r\n${lines(trailers)}\r\n`
  if (ask.onceAnswered !== true) wire.write(end)
  const head = await wire.head()
  if (ask.onceAnswered === true) wire.write(end)
  const length = /content-length: *(\d+)/i.exec(lines(head.fields))?.[1]
  const chunks: Buffer[] = []
  if (length !== undefined) chunks.push(await wire.take(Number(length)))
  else for (let data = await wire.chunk(); data.length > 0; data = await wire.chunk()) chunks.push(data)
  const after = length === undefined ? await wire.trailers() : []
  socket.destroy()
  const code = /coatcheck-error: *(\S+)/i.exec(lines(head.fields))?.[1]
  return { status: head.status, code, body: Buffer.concat(chunks).toString(), trailers: after }
}

async function askH2(rig: Rig, port: number, ask: TrailedAsk): Promise<TrailedAnswer> {
  const { sandbox, host = 'api.test', headers = [], body = ['body'], trailers } = ask
  const client = await H2Sandbox.open(rig, { host, port, sandbox })
  const pseudo = [':method', 'POST', ':scheme', 'https', ':authority', `${host}:${port}`, ':path', '/trailed']
  const named = headers.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text))
  const stream = client.session.request([...pseudo, ...named], { waitForTrailers: true })
  stream.on('error', () => undefined)
  const fields: Record<string, string[]> = {}
  for (let i = 0; i < trailers.length; i += 2) {
    const name = (trailers[i] as string).toLowerCase()
    fields[name] = [...(fields[name] ?? []), trailers[i + 1] as string]
  }
  const sent = new Promise<void>((resolve) => stream.once('wantTrailers', resolve))
  const answered = ask.onceAnswered === true ? new Promise((resolve) => stream.once('response', resolve)) : null
  const answer = client.answerTo(stream)
  answer.catch(() => undefined)
  for (const chunk of body) stream.write(chunk)
  stream.end()
  await Promise.race([Promise.all([sent, answered]), answer])
  if (!stream.closed) stream.sendTrailers(fields)
  const got = await answer.finally(() => client.close())
  const after = Object.entries(got.trailers).map(([name, value]) => [name, String(value)])
  return { status: got.status, code: got.error?.code, body: got.body.toString(), trailers: after.flat() }
}

export interface ArrivedTrailed {
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
  /** Raw pairs, names in lower case. */
  readonly trailers: readonly string[]
}

/** Both upstreams answer a first part at once, and, when the whole request is there, its trailers: in the body and a trailer. */
export class TrailedUpstreams {
  /** Requests that were finished, in order. */
  readonly arrived: ArrivedTrailed[] = []
  /** Called with each before it is answered. */
  onArrived: () => Promise<void> = () => Promise.resolve()
  /** False: nothing is answered before the whole request is there. */
  eager = false

  constructor(rig: Rig, h2: H2Upstream) {
    rig.upstream.answerWith((request, response) => this.#serveH1(request, response))
    h2.answerWith((request) => this.#serveH2(request))
  }

  #serveH1(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = []
    if (this.eager) response.write('early ')
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.once('end', () => {
      const arrived = {
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
        trailers: request.rawTrailers,
      }
      void this.#take(arrived).then((echo) => {
        response.write(echo)
        response.addTrailers({ 'x-end': echo })
        response.end()
      })
    })
  }

  #serveH2({ stream, headers }: H2Request): void {
    const chunks: Buffer[] = []
    let trailers: readonly string[] = []
    stream.on('trailers', (_fields: unknown, _flags: unknown, raw: string[]) => {
      trailers = raw
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    if (this.eager) beginH2(stream)
    stream.once('end', () => {
      if (stream.aborted) return
      void this.#take({ headers, body: Buffer.concat(chunks).toString(), trailers }).then((echo) => {
        if (!this.eager) beginH2(stream)
        stream.once('wantTrailers', () => stream.sendTrailers({ 'x-end': echo }))
        stream.end(echo)
      })
    })
  }

  async #take({ headers, body, trailers }: ArrivedTrailed): Promise<string> {
    this.arrived.push({ headers, body, trailers: trailers.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text)) })
    await this.onArrived()
    return trailers.filter((_text, i) => i % 2 === 1).join()
  }
}

function beginH2(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200 }, { waitForTrailers: true })
  stream.write('early ')
}

function lines(fields: readonly string[]): string {
  let text = ''
  for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`
  return text
}
