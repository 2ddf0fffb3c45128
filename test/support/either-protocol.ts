/** The same request over HTTP/1.1 or HTTP/2, from a sandbox to an upstream, for tests of every mix of the two. */
import http, { type RequestListener } from 'node:http'
import { H2Sandbox } from './h2-sandbox.ts'
import type { H2Answer, H2Upstream } from './h2-upstream.ts'
import type { Rig, RigSandbox } from './rig.ts'
import { type Answer, answerTo, openTls } from './sandbox-client.ts'

export type Protocol = 'h1' | 'h2'

/** Sandbox, then upstream. */
export const MIXES: readonly (readonly [Protocol, Protocol])[] = [
  ['h1', 'h1'],
  ['h1', 'h2'],
  ['h2', 'h1'],
  ['h2', 'h2'],
]

export interface EitherAsk {
  readonly method?: string
  readonly path?: string
  /** Raw pairs; Host is added. */
  readonly headers?: readonly string[]
  readonly body?: Buffer | string
  readonly sandbox?: RigSandbox
}

export interface EitherAnswer extends Pick<Answer, 'status' | 'body' | 'error'> {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly trailers: Readonly<Record<string, string | undefined>>
}

/** Asks on a connection of its own. */
export async function askOver(
  protocol: Protocol,
  rig: Rig,
  port: number,
  { sandbox = rig.sandbox, ...ask }: EitherAsk = {},
): Promise<EitherAnswer> {
  if (protocol === 'h2') {
    const client = await H2Sandbox.open(rig, { port, sandbox })
    return await client.ask(ask).finally(() => client.close())
  }
  const { method = 'GET', path = '/', headers = [], body } = ask
  const socket = await openTls(rig, 'api.test', { port, sandbox })
  socket.on('data', (chunk: Buffer) => rig.seen.push(chunk))
  const framing = body === undefined ? [] : ['Content-Length', String(Buffer.byteLength(body))]
  const fields = ['Host', `api.test:${port}`, ...headers, ...framing]
  const pending = http.request({
    method,
    path,
    headers: fields,
    createConnection: () => socket,
    setDefaultHeaders: false,
  })
  return await answerTo(pending, body)
}

/** Both kinds of upstream answer with the value: in a field, the body (with and without its length) and a trailer. */
export const echoH1: RequestListener = (request, response) => {
  request.resume().once('end', () => {
    const value = request.headers.authorization ?? ''
    const length = request.url === '/length' ? { 'content-length': Buffer.byteLength(value) } : {}
    response.writeHead(200, { 'x-echo': value, ...length })
    response.write(value)
    if (request.url !== '/length') response.addTrailers({ 'x-end': value })
    response.end()
  })
}

export const echoH2: H2Answer = ({ stream, headers }) => {
  stream.resume().once('end', () => {
    const value = headers['authorization'] ?? ''
    const length = headers[':path'] === '/length' ? { 'content-length': Buffer.byteLength(value) } : {}
    stream.respond({ ':status': 200, 'x-echo': value, ...length }, { waitForTrailers: true })
    stream.once('wantTrailers', () => stream.sendTrailers({ 'x-end': value }))
    stream.end(value)
  })
}

/** What an upstream got last: the value of a field, and the body. */
export function lastOf(
  protocol: Protocol,
  rig: Rig,
  h2: H2Upstream,
): { readonly headers: Readonly<Record<string, unknown>>; readonly body: Buffer } {
  return protocol === 'h1' ? rig.upstream.last : h2.last
}
