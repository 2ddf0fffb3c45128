/**
 * A TLS 1.2 ClientHello written by hand (RFC 5246 7.4.1.2), for server names and extensions that no TLS library sends, and
 * what the server answers to it: in TLS 1.2 its certificate is still readable on the wire.
 */
import { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'

const HANDSHAKE = 0x16
const ALERT = 0x15
const CERTIFICATE = 11
const SERVER_HELLO_DONE = 14

const SERVER_NAME = 0
/** ECDHE-ECDSA with AES-GCM and ChaCha20. */
const SUITES = Buffer.from('c02bc02ccca9', 'hex')
/** supported_groups (P-256), ec_point_formats, signature_algorithms (ECDSA with SHA-256). */
const BASICS = Buffer.from('000a000400020017000b00020100000d000400020403', 'hex')

/** A vector behind its length in `width` bytes. */
function vector(width: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const length = Buffer.alloc(width)
  length.writeUIntBE(content.length, 0, width)
  return Buffer.concat([length, content])
}

function extension(type: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type >> 8, type & 0xff]), vector(2, content)])
}

export interface Hello {
  /** Entries of the server_name list, as bytes (latin1); none = no such extension. */
  readonly names: readonly string[]
  readonly extensions?: readonly (readonly [type: number, content: Buffer])[]
}

export function clientHello({ names, extensions = [] }: Hello): Buffer {
  const entries = names.map((name) => Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name, 'latin1'))]))
  const body = Buffer.concat([
    Buffer.from('0303', 'hex'),
    Buffer.alloc(32, 0x5a),
    vector(1),
    vector(2, SUITES),
    vector(1, Buffer.from([0])),
    vector(
      2,
      ...(names.length === 0 ? [] : [extension(SERVER_NAME, vector(2, ...entries))]),
      BASICS,
      ...extensions.map(([type, content]) => extension(type, content)),
    ),
  ])
  const message = Buffer.concat([Buffer.from([1]), vector(3, body)])
  return Buffer.concat([Buffer.from([HANDSHAKE, 3, 1]), vector(2, message)])
}

export interface HelloAnswer {
  /** AlertDescription (RFC 8446 6); null when there was none. */
  readonly alert: number | null
  readonly leaf: X509Certificate | null
}

/** Reads until the server's flight is complete, an alert came, or the connection was closed; then closes it. */
export async function answerToHello(socket: Socket): Promise<HelloAnswer> {
  const received: Buffer[] = []
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received.push(chunk)
      const answer = read(Buffer.concat(received))
      if (answer !== undefined) return answer
    }
  } catch {
    // Cut: what came until then is the answer.
  }
  return read(Buffer.concat(received)) ?? { alert: null, leaf: null }
}

/** Undefined while the flight is incomplete. */
function read(bytes: Buffer): HelloAnswer | undefined {
  const messages: Buffer[] = []
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
    const content = bytes.subarray(at + 5, at + 5 + bytes.readUInt16BE(at + 3))
    if (bytes[at] === ALERT) return { alert: content[1] ?? null, leaf: null }
    messages.push(content)
  }
  const flight = Buffer.concat(messages)
  let leaf: X509Certificate | null = null
  for (let at = 0; at + 4 <= flight.length; at += 4 + flight.readUIntBE(at + 1, 3)) {
    // The list's length (3), then the leaf behind its own (3).
    if (flight[at] === CERTIFICATE) {
      const start = at + 10
      leaf = new X509Certificate(flight.subarray(start, start + flight.readUIntBE(start - 3, 3)))
    }
    if (flight[at] === SERVER_HELLO_DONE) return { alert: null, leaf }
  }
  return undefined
}
