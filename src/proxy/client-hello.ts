/**
 * The server name that a TLS client asks for, read from the first bytes of its connection without taking them.
 *
 * Strict: every length must fit exactly, and what RFC 8446 4.1.2 and RFC 6066 3 forbid is malformed, never skipped,
 * so that nobody who ends this TLS afterwards can see another name. The name is as sent; it is not yet a host.
 */

/** `incomplete`: at least so many bytes are needed. `serverName` is null when the client named none. */
export type ClientHello =
  | { readonly kind: 'incomplete'; readonly needs: number }
  | { readonly kind: 'hello'; readonly serverName: string | null }
  | { readonly kind: 'malformed'; readonly flaw: string }

/** ContentType handshake, HandshakeType client_hello, ExtensionType server_name, NameType host_name. */
const HANDSHAKE = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
const HOST_NAME = 0

const RECORD_HEADER = 5
const MESSAGE_HEADER = 4
/** TLSPlaintext.length (RFC 8446 5.1). */
const MOST_IN_RECORD = 2 ** 14
/** Of the message. Clients with post-quantum key shares and padding send about 2 KiB. */
const MOST_IN_HELLO = 2 ** 14
/** Clients that hide from censors split a hello into several; nobody needs more. */
const MOST_RECORDS = 64
const RANDOM = 32

class Malformed extends Error {}

/** Takes as many bytes as there are; never throws. It never asks for more than 33 KiB. */
export function readClientHello(bytes: Buffer): ClientHello {
  try {
    const message = messageIn(bytes)
    if (typeof message === 'number') return { kind: 'incomplete', needs: message }
    return { kind: 'hello', serverName: serverNameIn(new Fields(message)) }
  } catch (error) {
    if (error instanceof Malformed) return { kind: 'malformed', flaw: error.message }
    throw error
  }
}

/** The body of the ClientHello, put together from its records; a number when at least that many bytes are needed. */
function messageIn(bytes: Buffer): Buffer | number {
  const fragments: Buffer[] = []
  let collected = 0
  let wanted = MESSAGE_HEADER
  for (let at = 0; collected < wanted; ) {
    if (fragments.length === MOST_RECORDS) throw new Malformed('is in too many records')
    const end = recordEnd(bytes, at)
    if (end > bytes.length) return end
    fragments.push(bytes.subarray(at + RECORD_HEADER, end))
    collected += end - at - RECORD_HEADER
    if (wanted === MESSAGE_HEADER && collected >= MESSAGE_HEADER) wanted = messageEnd(Buffer.concat(fragments))
    at = end
  }
  // A client that cannot know the keys yet has nothing to say after its hello but early data, in a record of its own.
  if (collected > wanted) throw new Malformed('is followed by something in the same record')
  return Buffer.concat(fragments).subarray(MESSAGE_HEADER)
}

/** Where the record ends that begins at `at`, as far as its header is there to say so. */
function recordEnd(bytes: Buffer, at: number): number {
  if (at < bytes.length && bytes[at] !== HANDSHAKE) throw new Malformed('is not a TLS handshake')
  if (at + 1 < bytes.length && bytes[at + 1] !== 3) throw new Malformed('is of no TLS version')
  if (at + RECORD_HEADER > bytes.length) return at + RECORD_HEADER
  const length = bytes.readUInt16BE(at + 3)
  if (length === 0 || length > MOST_IN_RECORD) throw new Malformed('has a record of a forbidden length')
  return at + RECORD_HEADER + length
}

/** Length of the message with its header. */
function messageEnd(start: Buffer): number {
  if (start[0] !== CLIENT_HELLO) throw new Malformed('does not begin with a client hello')
  const length = start.readUIntBE(1, 3)
  if (length > MOST_IN_HELLO) throw new Malformed('is too large')
  return MESSAGE_HEADER + length
}

function serverNameIn(hello: Fields): string | null {
  hello.take(2 + RANDOM)
  const session = hello.vector(1)
  const suites = hello.vector(2)
  const compression = hello.vector(1)
  if (session.length > 32 || suites.length < 2 || suites.length % 2 !== 0 || compression.length === 0) {
    throw new Malformed('has a vector of a forbidden length')
  }
  // Before TLS 1.3 extensions were optional.
  if (hello.isEmpty) return null
  const extensions = new Fields(hello.vector(2))
  hello.requireEnd()
  let name: string | null = null
  while (!extensions.isEmpty) {
    const type = extensions.number(2)
    const content = extensions.vector(2)
    if (type !== SERVER_NAME) continue
    if (name !== null) throw new Malformed('has two server name extensions')
    name = nameIn(new Fields(content))
  }
  return name
}

/** The one host name of a ServerNameList; other types of name were never defined. */
function nameIn(extension: Fields): string {
  const list = new Fields(extension.vector(2))
  extension.requireEnd()
  if (list.number(1) !== HOST_NAME) throw new Malformed('has a server name of an unknown type')
  const name = list.vector(2)
  if (!list.isEmpty) throw new Malformed('has several server names')
  if (name.length === 0) throw new Malformed('has an empty server name')
  return name.toString('latin1')
}

/** Takes apart the presentation language of RFC 8446 3. */
class Fields {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length
  }

  take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new Malformed('ends inside a field')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  number(width: number): number {
    return this.take(width).readUIntBE(0, width)
  }

  /** What stands behind its length in `width` bytes. */
  vector(width: number): Buffer {
    return this.take(this.number(width))
  }

  requireEnd(): void {
    if (!this.isEmpty) throw new Malformed('has bytes left over')
  }
}
