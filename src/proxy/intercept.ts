/**
 * What happens inside a CONNECT that was answered: the sandbox's TLS is ended with a leaf for exactly the tunnel's host,
 * the server name it asked for must be that host, and the bytes go to an HTTP server of ours. Plain HTTP in a tunnel is
 * served as such; anything else does not parse and is closed.
 */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { CoatcheckError } from '../core/errors.ts'
import { type Authority, canonicalHost, isIpLiteral } from '../core/host.ts'
import type { LeafIssuer } from '../core/ports.ts'

/** First byte of a TLS record of type handshake (RFC 8446 5.1). */
const TLS_HANDSHAKE = 0x16

export interface InterceptPorts {
  readonly leaves: LeafIssuer
  readonly handshakeTimeoutMs: number
  /** Offered to the sandbox by ALPN, best first. */
  readonly alpn: readonly string[]
}

/** The decrypted (or plain) stream of a tunnel. */
export interface Intercepted {
  readonly stream: Socket
  readonly secure: boolean
  /** What ALPN agreed on; null when the sandbox did not ask, or sent no TLS. */
  readonly protocol: string | null
}

/** Resolves with the stream to serve; throws `sni_mismatch` or `bad_request`, after which the socket is destroyed. */
export async function intercept(ports: InterceptPorts, socket: Socket, authority: Authority): Promise<Intercepted> {
  const deadline = AbortSignal.timeout(ports.handshakeTimeoutMs)
  const abort = () => socket.destroy()
  deadline.addEventListener('abort', abort, { once: true })
  try {
    if ((await firstByte(socket)) !== TLS_HANDSHAKE) return { stream: socket, secure: false, protocol: null }
    const stream = await endTls(ports, socket, authority)
    requireServerName(stream, authority)
    return { stream, secure: true, protocol: stream.alpnProtocol || null }
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    deadline.removeEventListener('abort', abort)
  }
}

/** Looks at the first byte without taking it. */
function firstByte(socket: Socket): Promise<number> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(brokenHandshake(new Error('closed before the first byte')))
    const look = () => {
      const chunk = socket.read() as Buffer | null
      if (chunk === null) {
        socket.once('readable', look)
        return
      }
      socket.removeListener('close', onClose)
      socket.unshift(chunk)
      resolve(chunk[0] as number)
    }
    socket.once('close', onClose)
    look()
  })
}

async function endTls(ports: InterceptPorts, socket: Socket, authority: Authority): Promise<TLSSocket> {
  const secureContext = await ports.leaves.contextFor(authority.host)
  const stream = new TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: alpnList(ports.alpn) })
  // A record that does not decrypt is told by this event alone, and the connection stays, when no tls.Server owns it.
  stream.on('_tlsError', () => stream.destroy())
  await new Promise<void>((resolve, reject) => {
    const fail = (error?: Error | boolean) => reject(brokenHandshake(error))
    stream.once('error', fail)
    stream.once('close', fail)
    stream.once('secure', () => {
      stream.removeListener('error', fail)
      stream.removeListener('close', fail)
      // A tls.Server would say so; node:http2 waits for it.
      Object.assign(stream, { secureConnecting: false })
      resolve()
    })
  })
  return stream
}

/** ProtocolNameList of RFC 7301 3.1: each name behind its length. */
function alpnList(names: readonly string[]): Buffer {
  return Buffer.concat(names.map((name) => Buffer.from(`${String.fromCharCode(name.length)}${name}`, 'latin1')))
}

/** A server name is optional (RFC 6066 3) and never an address; one that is sent must be the tunnel's host. */
function requireServerName(stream: TLSSocket, authority: Authority): void {
  const asked = (stream as unknown as { servername: string | false | null }).servername
  if (typeof asked !== 'string' || asked === '') return
  if (!isIpLiteral(authority.host) && canonicalOrNull(asked) === authority.host) return
  stream.destroy()
  throw new CoatcheckError(
    'sni_mismatch',
    'The TLS handshake asked for another server name than the tunnel was opened to.',
    'Open the tunnel to the host whose name the handshake asks for.',
  )
}

function canonicalOrNull(name: string): string | null {
  try {
    return canonicalHost(name)
  } catch {
    return null
  }
}

function brokenHandshake(cause: unknown): CoatcheckError {
  return new CoatcheckError(
    'bad_request',
    'The TLS handshake inside the tunnel was not completed.',
    'If the client says the certificate is unknown, make it trust the authority: coatcheck ca show.',
    { cause },
  )
}
