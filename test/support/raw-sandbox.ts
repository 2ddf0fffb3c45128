/**
 * A sandbox that writes its own bytes: request lines, CONNECT targets and Host fields that no client library would send.
 * Everything that comes back is added to what the sandbox saw.
 */
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import tls, { type TLSSocket } from 'node:tls'
import type { Rig, RigSandbox } from './rig.ts'

export interface RawAnswer {
  /** 0 when the proxy closed without an answer. */
  readonly status: number
  readonly head: string
  readonly body: Buffer
  /** The `coatcheck-error` field; null on answers that are not ours. */
  readonly code: string | null
  /** The id that the audit knows this exchange by. */
  readonly requestId: string | null
}

export interface InTunnel {
  /** What the TLS handshake asks for; null = nothing. Default: the host. */
  readonly servername?: string | null
  /** What CONNECT asks for. Default: host and port of the upstream. */
  readonly connect?: string
  readonly tls?: tls.ConnectionOptions
}

const NOTHING: RawAnswer = { status: 0, head: '', body: Buffer.alloc(0), code: null, requestId: null }

export class RawSandbox {
  readonly #rig: Rig
  readonly #sandbox: RigSandbox

  constructor(rig: Rig, sandbox: RigSandbox = rig.sandbox) {
    this.#rig = rig
    this.#sandbox = sandbox
  }

  /** The field by which this sandbox proves itself. */
  get credentials(): string {
    const { name, token } = this.#sandbox
    return `Proxy-Authorization: Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`
  }

  /** The field that would carry the value. */
  get authorization(): string {
    return `Authorization: Bearer ${this.#rig.secret.placeholder}`
  }

  /** These lines to the proxy's own port, after which the credentials and the empty line are sent. */
  async ask(...lines: readonly string[]): Promise<RawAnswer> {
    return await this.send([...lines, this.credentials, '', ''].join('\r\n'))
  }

  /** Exactly these bytes (latin1) to the proxy's own port. */
  async send(bytes: string): Promise<RawAnswer> {
    const socket = await this.dial()
    socket.write(Buffer.from(bytes, 'latin1'))
    const answer = await this.answerOn(socket)
    socket.destroy()
    return answer
  }

  /** CONNECT with this target; the tunnel stays open when the answer is 200. */
  async connect(target: string, ...lines: readonly string[]): Promise<{ answer: RawAnswer; tunnel: Socket }> {
    const tunnel = await this.dial()
    const head = [`CONNECT ${target} HTTP/1.1`, ...lines, this.credentials, '', '']
    tunnel.write(Buffer.from(head.join('\r\n'), 'latin1'))
    const answer = await this.answerOn(tunnel)
    if (answer.status !== 200) tunnel.destroy()
    return { answer, tunnel }
  }

  /** A tunnel to the upstream with TLS inside; throws when the handshake fails. */
  async openTls(host: string, options: InTunnel = {}): Promise<TLSSocket> {
    const { servername = host, connect = `${host}:${this.#rig.upstream.port}` } = options
    const { answer, tunnel } = await this.connect(connect)
    if (answer.status !== 200) throw new Error(`CONNECT was answered ${answer.status}`)
    const secure = tls.connect({
      socket: tunnel,
      ca: this.#rig.app.data.authority.certificatePem,
      // Which name the leaf carries is a question of its own.
      checkServerIdentity: () => undefined,
      ...(servername === null ? {} : { servername }),
      ...options.tls,
    })
    secure.on('close', () => tunnel.destroy())
    await once(secure, 'secureConnect')
    secure.on('error', () => undefined)
    return secure
  }

  /** These lines inside a tunnel with TLS to `host`; the empty line is added. */
  async askInTunnel(host: string, lines: readonly string[], options: InTunnel = {}): Promise<RawAnswer> {
    const secure = await this.openTls(host, options)
    secure.write(Buffer.from([...lines, '', ''].join('\r\n'), 'latin1'))
    const answer = await this.answerOn(secure)
    secure.destroy()
    return answer
  }

  async dial(): Promise<Socket> {
    const { hostname, port } = new URL(this.#rig.app.proxyUrl)
    const socket = net.connect(Number(port), hostname)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return socket
  }

  /** One answer, framed by Content-Length; nothing after it is taken from the stream. */
  async answerOn(stream: Duplex): Promise<RawAnswer> {
    const head = await this.#take(stream, (taken) => taken.endsWith('\r\n\r\n'))
    if (!head.endsWith('\r\n\r\n')) return NOTHING
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    const body = Buffer.from(await this.#take(stream, (taken) => taken.length === length), 'latin1')
    this.#rig.seen.push(Buffer.from(head, 'latin1'), body)
    const code = /\r\ncoatcheck-error: ([a-z_]+)/i.exec(head)?.[1] ?? null
    const requestId = code === null ? null : (/"requestId":"([^"]+)"/.exec(body.toString('utf8'))?.[1] ?? null)
    return { status: Number(head.slice(9, 12)), head, body, code, requestId }
  }

  async #take(stream: Duplex, enough: (taken: string) => boolean): Promise<string> {
    let taken = ''
    while (!enough(taken)) {
      const byte = stream.read(1) as Buffer | null
      if (byte !== null) taken += byte.toString('latin1')
      else if (!(await more(stream))) break
    }
    return taken
  }
}

/** Resolves when there is more to read; false when there will be none. */
function more(stream: Duplex): Promise<boolean> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve(false)
  return new Promise((resolve) => {
    const settle = (answer: boolean) => () => {
      stream.off('readable', readable).off('end', over).off('close', over)
      resolve(answer)
    }
    const readable = settle(true)
    const over = settle(false)
    stream.once('readable', readable).once('end', over).once('close', over)
  })
}
