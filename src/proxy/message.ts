/**
 * An exchange's two ends, free of any transport: h1, h2 and the gateway all speak these types to `exchange.ts`.
 *
 * Headers are raw pairs (name, value, name, value …) in wire order and wire case, one latin1 character per byte.
 */
import type { Socket } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import type { CoatcheckError } from '../core/errors.ts'
import type { Authority, CanonicalHost } from '../core/host.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { Inspection } from './websocket-release.ts'

export type Scheme = 'http' | 'https'

/** Where an exchange goes: one canonical host, used for policy, DNS, SNI, certificate check, Host, pool key and audit. */
export interface Destination {
  readonly scheme: Scheme
  readonly host: CanonicalHost
  readonly port: number
}

/** A CONNECT that was answered: who opened it and where it goes. */
export interface Tunnel {
  readonly sandbox: SandboxIdentity
  readonly authority: Authority
  /** The same place, for each request in it. */
  readonly destination: Destination
  /** What the Host field says upstream: the canonical host, with the port unless it is the scheme's own. */
  readonly hostField: string
}

/** A tunnel that an identified sandbox asks for, and how the one who took its call answers it: once, one or the other. */
export interface TunnelCall {
  /** UUIDv7. */
  readonly id: string
  readonly sandbox: SandboxIdentity
  readonly authority: Authority
  readonly socket: Socket
  /** Bytes that came after what asked for the tunnel. */
  readonly head: Buffer
  readonly accept: () => void
  /** Must end the socket. */
  readonly refuse: (error: CoatcheckError) => void
}

/** The sandbox's half of a WebSocket handshake: the raw socket takes over once the upstream agreed. */
export interface UpgradeSocket {
  readonly socket: Duplex
  /** Bytes that came after the handshake's head. */
  readonly head: Buffer
}

/** The same on its way upstream. */
export interface OutgoingUpgrade extends UpgradeSocket {
  /** What is done with its messages; null when bytes pass as they are. */
  readonly inspection: Inspection | null
}

export interface ExchangeRequest {
  /** UUIDv7; shown to the sandbox as `requestId`. */
  readonly id: string
  readonly sandbox: SandboxIdentity
  /** Null for a request that came in absolute form. */
  readonly tunnel: Tunnel | null
  readonly httpVersion: string
  readonly method: string
  /** The request target as sent: origin form inside a tunnel, absolute form outside. */
  readonly target: string
  readonly headers: readonly string[]
  /** Null when the request has no body. */
  readonly body: Readable | null
  /** Raw pairs that came after the body: to be asked for once it has ended. Null when none can come. */
  readonly trailers: (() => readonly string[]) | null
  /** The sandbox waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean
  readonly upgrade: UpgradeSocket | null
}

/**
 * Trailers of a request: asked for by an engine that can send them, at most once, after the body has ended and before the
 * request is finished. A rejection is the refusal of the request, which must then never be finished.
 */
export type OutgoingTrailers = () => Promise<readonly string[]>

/** What leaves: hop-by-hop fields removed, target in origin form, placeholders swapped where they were released. */
export interface OutgoingRequest {
  readonly workspaceId: string
  readonly destination: Destination
  readonly method: string
  readonly path: string
  readonly headers: readonly string[]
  readonly body: Readable | null
  readonly trailers: OutgoingTrailers | null
  readonly upgrade: OutgoingUpgrade | null
  /** The request as it came: by which protocol, and what stood where something was swapped. */
  readonly received: Pick<ExchangeRequest, 'httpVersion' | 'target' | 'headers'>
}

/** The upstream's end of a connection, for the audit. */
export interface UpstreamPeer {
  readonly address: string
  /** SHA-256 of the leaf, colon-separated hex; null without TLS. */
  readonly fingerprint: string | null
}

/** Where a response goes. `write` returns false when the other side is slow; `onDrain` then fires once. */
export interface ResponseSink {
  readonly headSent: boolean
  /** Status of the head that was sent; null before. */
  readonly status: number | null
  /** Body bytes written to the sandbox. */
  readonly bytes: number
  /** 1xx other than 101. */
  informational(status: number, headers: readonly string[]): void
  /** A 101 is about to be written to the upgraded socket: its fields as the sandbox may see them. */
  switching(headers: readonly string[]): readonly string[]
  head(status: number, reason: string, headers: readonly string[]): void
  write(chunk: Buffer): boolean
  onDrain(callback: () => void): void
  end(trailers: readonly string[]): void
  /** After `end`: resolves when all of it was handed on, rejects when it could not be; null when it already was. */
  settled(): Promise<void> | null
  /** Why forwarding ended with this error: another one, when a layer stopped the upstream itself. */
  explain(error: unknown): unknown
  /** Cuts the response, so that the sandbox cannot take a part for the whole. */
  abort(): void
  /** True once the sandbox went away before the response was complete; `onGone` is then called, once. */
  readonly gone: boolean
  onGone(callback: () => void): void
}

/** Who wants to know what a forwarder learns on the way. */
export interface ForwardObserver {
  reached(peer: UpstreamPeer): void
  /** Bytes from the sandbox that did not come as a request body. */
  received(bytes: number): void
}

/** An upstream engine: sends one request and drives the sink; resolves when the response is complete. */
export interface Forwarder {
  forward(request: OutgoingRequest, sink: ResponseSink, observer: ForwardObserver): Promise<void>
}
