/**
 * Opens connections to upstreams: resolve, vet every address, dial a vetted one, check who answered, verify TLS.
 * A connection that this hands out may carry a value, if its destination's scheme is https.
 */
import net, { type Socket } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import { type AddressGuard, isOwnListener } from '../core/address.ts'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { canonicalAddress, isIpLiteral } from '../core/host.ts'
import type { Destination, UpstreamPeer } from './message.ts'
import type { NameResolver } from './resolver.ts'
import { openThroughProxy } from './upstream-proxy.ts'
import { startUpstreamTls } from './upstream-tls.ts'

export interface UpstreamPorts {
  readonly resolver: NameResolver
  readonly guard: AddressGuard
  /** Addresses of our own listeners, never dialled. */
  readonly own: () => readonly { readonly address: string; readonly port: number }[]
  /** Addresses of this machine's interfaces. */
  readonly local: () => readonly string[]
  readonly secureContext: SecureContext
  /** `upstream.proxy`, or null to dial directly. */
  readonly proxy: URL | null
  readonly connectTimeoutMs: number
}

export interface UpstreamConnection {
  readonly socket: Socket | TLSSocket
  readonly peer: UpstreamPeer
}

export class Upstream {
  readonly #ports: UpstreamPorts

  constructor(ports: UpstreamPorts) {
    this.#ports = ports
  }

  /** Throws `upstream_unresolved`, `address_denied`, `upstream_unreachable`, `upstream_tls`, `upstream_timeout`. */
  async open(destination: Destination, alpn: readonly string[]): Promise<UpstreamConnection> {
    const signal = AbortSignal.timeout(this.#ports.connectTimeoutMs)
    try {
      const plain = await this.#connect(destination, signal)
      const address = plain.remoteAddress ?? ''
      if (destination.scheme === 'http') return { socket: plain, peer: { address, fingerprint: null } }
      const socket = await startUpstreamTls(plain, destination, this.#ports.secureContext, alpn, signal)
      return { socket, peer: { address, fingerprint: socket.getPeerCertificate().fingerprint256 } }
    } catch (error) {
      if (!signal.aborted) throw asCoatcheckError(error)
      throw new CoatcheckError(
        'upstream_timeout',
        'The upstream did not accept a connection in time.',
        'Check that the destination is reachable, or raise upstream.connectTimeout.',
        { cause: error },
      )
    }
  }

  #connect(destination: Destination, signal: AbortSignal): Promise<Socket> {
    const { proxy } = this.#ports
    if (proxy === null) return this.#dialDirectly(destination, signal)
    // The next proxy resolves names; a literal address is still judged here.
    if (isIpLiteral(destination.host)) this.#vet(destination.host, destination.port)
    return openThroughProxy(proxy, destination, signal)
  }

  async #dialDirectly({ host, port }: Destination, signal: AbortSignal): Promise<Socket> {
    const addresses = await this.#ports.resolver.resolve(host)
    for (const address of addresses) this.#vet(address, port)
    let failure: unknown
    for (const address of addresses) {
      try {
        return await dial(address, port, signal)
      } catch (error) {
        failure = error
        if (signal.aborted) break
      }
    }
    throw new CoatcheckError(
      'upstream_unreachable',
      'The upstream could not be reached.',
      'Check that the destination is up and that this machine may connect to it.',
      { cause: failure },
    )
  }

  #vet(address: string, port: number): void {
    const decision = this.#ports.guard.check(address)
    if (!decision.allow) throw new CoatcheckError(decision.reason, decision.message, decision.hint)
    if (isOwnListener(address, port, this.#ports.own(), this.#ports.local())) {
      throw new CoatcheckError(
        'address_denied',
        'The destination is this proxy or its API.',
        'Reach the API without the proxy, from outside the sandbox.',
      )
    }
  }
}

/** Connects to exactly this address and confirms that it is the one that answered. */
function dial(address: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: address, port, noDelay: true, autoSelectFamily: false })
    const abort = () => socket.destroy(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    socket.once('error', (error) => {
      signal.removeEventListener('abort', abort)
      reject(error)
    })
    socket.once('connect', () => {
      signal.removeEventListener('abort', abort)
      socket.removeAllListeners('error')
      if (sameAddress(socket.remoteAddress, address)) resolve(socket)
      else {
        socket.destroy()
        reject(new Error('connected to another address than the one that was vetted'))
      }
    })
  })
}

function sameAddress(actual: string | undefined, vetted: string): boolean {
  if (actual === undefined) return false
  // A dual-stack socket shows an IPv4 peer as a mapped IPv6 address.
  return canonicalAddress(actual.replace(/^::ffff:(?=\d+\.)/, '')) === canonicalAddress(vetted)
}
