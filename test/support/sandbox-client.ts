/** What a sandbox does, byte by byte: opens tunnels, ends TLS with the proxy's leaf, sends exactly what a test wrote. */
import http from 'node:http'
import net, { type Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import type { Rig, RigSandbox } from './rig.ts'
import { Wire } from './wire.ts'

export interface Answer {
  readonly status: number
  readonly reason: string
  readonly rawHeaders: readonly string[]
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
  readonly trailers: http.IncomingMessage['trailers']
  /** The document of a refusal of ours. */
  readonly error: {
    readonly code: string
    readonly message: string
    readonly hint: string
    readonly requestId: string
  } | null
}

/** Connects to the proxy and sends exactly these bytes; resolves with all that came back until it closed or fell silent. */
export async function rawExchange(port: number, bytes: string | Buffer, quietMs = 300): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  return await readUntilQuiet(socket, quietMs)
}

/** Everything the other side sends until it closes, or `quietMs` pass without a byte. */
export function readUntilQuiet(socket: Socket, quietMs = 300): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const done = () => {
      clearTimeout(timer)
      socket.destroy()
      resolve(Buffer.concat(chunks).toString('latin1'))
    }
    let timer = setTimeout(done, quietMs + 1_500)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      clearTimeout(timer)
      timer = setTimeout(done, quietMs)
    })
    socket.once('close', done)
  })
}

/** A connection to the proxy itself. What comes back is added to what the sandbox saw. */
export async function openProxy(rig: Rig): Promise<Wire> {
  const socket = net.connect(Number(new URL(rig.app.proxyUrl).port), '127.0.0.1')
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return new Wire(socket, (chunk) => rig.seen.push(chunk))
}

/** The field that proves who a sandbox is: name and value. */
export function proxyAuthorization({ name, token }: Pick<RigSandbox, 'name' | 'token'>): [string, string] {
  return ['Proxy-Authorization', `Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`]
}

/** CONNECT with the sandbox's credentials; throws the status line when refused. */
export function openTunnel(sandbox: RigSandbox, authority: string): Promise<Socket> {
  const proxy = new URL(sandbox.proxyUrl)
  const [, credentials] = proxyAuthorization(sandbox)
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: proxy.hostname,
      port: proxy.port,
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, 'proxy-authorization': credentials },
      agent: false,
    })
    request.once('error', reject)
    request.once('connect', (response, socket) => {
      if (response.statusCode === 200) resolve(socket)
      else reject(new Error(`CONNECT was answered ${response.statusCode}`))
    })
    request.once('response', (response) => reject(new Error(`CONNECT was answered ${response.statusCode}`)))
    request.end()
  })
}

/** A tunnel with TLS inside, verified against the proxy's authority. */
export async function openTls(
  rig: Rig,
  host: string,
  options: tls.ConnectionOptions & { readonly sandbox?: RigSandbox; readonly port?: number } = {},
): Promise<TLSSocket> {
  const { sandbox = rig.sandbox, port = rig.upstream.port, ...tlsOptions } = options
  const socket = await openTunnel(sandbox, `${host.includes(':') ? `[${host}]` : host}:${port}`)
  return await new Promise((resolve, reject) => {
    const secure = tls.connect({
      socket,
      ca: rig.app.data.authority.certificatePem,
      ...(net.isIP(host) === 0 ? { servername: host } : { host }),
      ...tlsOptions,
    })
    secure.once('secureConnect', () => resolve(secure))
    secure.once('error', reject)
    secure.once('close', () => reject(new Error('closed during the handshake')))
  })
}

/** A tunnel with TLS inside, to be written to and read byte by byte. What comes back is added to what the sandbox saw. */
export async function openWire(
  rig: Rig,
  options: { readonly host?: string; readonly sandbox?: RigSandbox } = {},
): Promise<Wire> {
  const { host = 'api.test', sandbox = rig.sandbox } = options
  return new Wire(await openTls(rig, host, { sandbox }), (chunk) => rig.seen.push(chunk))
}

/** A request head with its Host first: `GET / HTTP/1.1`, fields as raw pairs, and the empty line. */
export function headText(rig: Rig, start: string, fields: readonly string[] = [], host = 'api.test'): string {
  let text = `${start} HTTP/1.1\r\nHost: ${host}:${rig.upstream.port}\r\n`
  for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`
  return `${text}\r\n`
}

export interface SandboxRequest {
  readonly method?: string
  readonly path?: string
  /** Raw pairs; Host is added in front unless given. */
  readonly headers?: readonly string[]
  readonly body?: Buffer | string
  readonly sandbox?: RigSandbox
  readonly host?: string
}

/** One request through the proxy over a tunnel and TLS. What comes back is added to what the sandbox saw. */
export async function send(rig: Rig, request: SandboxRequest = {}): Promise<Answer> {
  const { method = 'GET', path = '/', headers = [], host = 'api.test', body } = request
  const socket = await openTls(rig, host, request.sandbox === undefined ? {} : { sandbox: request.sandbox })
  socket.on('data', (chunk: Buffer) => rig.seen.push(chunk))
  const named = headers.some((name, i) => i % 2 === 0 && name.toLowerCase() === 'host')
  const fields = named ? headers : ['Host', `${host}:${rig.upstream.port}`, ...headers]
  const framed = body === undefined ? fields : [...fields, 'Content-Length', String(Buffer.byteLength(body))]
  const pending = http.request({
    method,
    path,
    headers: framed as string[],
    createConnection: () => socket,
    setDefaultHeaders: false,
  })
  return await answerTo(pending, body)
}

/** Sends a prepared request and reads the whole answer. */
export function answerTo(pending: http.ClientRequest, body?: Buffer | string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    pending.once('error', reject)
    pending.once('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () => {
        resolve(toAnswer(response, Buffer.concat(chunks)))
        pending.destroy()
      })
    })
    pending.end(body)
  })
}

function toAnswer(response: http.IncomingMessage, body: Buffer): Answer {
  const ours = response.headers['coatcheck-error'] !== undefined
  return {
    status: response.statusCode ?? 0,
    reason: response.statusMessage ?? '',
    rawHeaders: response.rawHeaders,
    headers: response.headers,
    body,
    trailers: response.trailers,
    error: ours ? (JSON.parse(body.toString('utf8')) as { error: NonNullable<Answer['error']> }).error : null,
  }
}
