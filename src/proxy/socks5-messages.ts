/**
 * The messages of SOCKS5 (RFC 1928) and its user and password (RFC 1929), read strictly and no further than their end.
 * Everything a client sends is bounded by its one-byte lengths: a message has at most 513 bytes.
 */
import { CoatcheckError, type ErrorCode } from '../core/errors.ts'
import { type Authority, canonicalAddress, canonicalHost } from '../core/host.ts'
import type { Credentials } from './identify.ts'
import type { Opening } from './opening.ts'

const SOCKS5 = 5
const PASSWORD_VERSION = 1
const IPV4 = 1
const NAME = 3
const IPV6 = 4

/** METHOD. */
export const NO_AUTHENTICATION = 0x00
export const PASSWORD = 0x02
const NONE_ACCEPTABLE = 0xff

const COMMANDS: Readonly<Record<number, string>> = { 1: 'CONNECT', 2: 'BIND', 3: 'UDP-ASSOCIATE' }

/** REP. */
const SUCCEEDED = 0x00
const GENERAL_FAILURE = 0x01
const NOT_ALLOWED = 0x02
const HOST_UNREACHABLE = 0x04
const REFUSED = 0x05
const TTL_EXPIRED = 0x06
const COMMAND_NOT_SUPPORTED = 0x07
const ADDRESS_NOT_SUPPORTED = 0x08

export interface SocksRequest {
  /** `CONNECT`, `BIND`, `UDP-ASSOCIATE`, or `unknown`. */
  readonly command: string
  /** Throws `invalid_host` for what is no host, and `bad_request` for a type of address that there is not. */
  readonly authority: () => Authority
}

/** The methods a client offers. Throws `bad_request` for anything but SOCKS5. */
export function readMethods(bytes: Buffer): Opening<readonly number[]> {
  requireVersion(bytes, SOCKS5)
  if (bytes.length < 2) return { needs: 2 }
  const end = 2 + (bytes[1] as number)
  if (bytes.length < end) return { needs: end }
  return { value: [...bytes.subarray(2, end)], used: end }
}

/** User and password. */
export function readPassword(bytes: Buffer): Opening<Credentials> {
  requireVersion(bytes, PASSWORD_VERSION)
  if (bytes.length < 2) return { needs: 2 }
  const nameEnd = 2 + (bytes[1] as number)
  if (bytes.length <= nameEnd) return { needs: nameEnd + 1 }
  const end = nameEnd + 1 + (bytes[nameEnd] as number)
  if (bytes.length < end) return { needs: end }
  const name = bytes.toString('latin1', 2, nameEnd)
  return { value: { name, token: bytes.toString('latin1', nameEnd + 1, end) }, used: end }
}

export function readRequest(bytes: Buffer): Opening<SocksRequest> {
  requireVersion(bytes, SOCKS5)
  if (bytes.length < 5) return { needs: 5 }
  if (bytes[2] !== 0) throw malformed()
  const command = COMMANDS[bytes[1] as number] ?? 'unknown'
  const length = addressLength(bytes[3] as number, bytes[4] as number)
  if (length === null) return { value: { command, authority: unknownType }, used: bytes.length }
  const end = 4 + length + 2
  if (bytes.length < end) return { needs: end }
  const address = Buffer.from(bytes.subarray(4, end - 2))
  const type = bytes[3] as number
  const port = bytes.readUInt16BE(end - 2)
  return { value: { command, authority: () => authorityOf(type, address, port) }, used: end }
}

/** The method that was chosen; null: none is acceptable. */
export function methodReply(method: number | null): Buffer {
  return Buffer.from([SOCKS5, method ?? NONE_ACCEPTABLE])
}

export function passwordReply(accepted: boolean): Buffer {
  return Buffer.from([PASSWORD_VERSION, accepted ? 0 : 1])
}

/** The reply to a request. Our own address is nobody's business: it is all zero. */
export function reply(error: CoatcheckError | null): Buffer {
  const code = error === null ? SUCCEEDED : (REPLIES[error.code] ?? NOT_ALLOWED)
  return Buffer.from([SOCKS5, code, 0, IPV4, 0, 0, 0, 0, 0, 0])
}

/** What is not here was refused by a rule. */
const REPLIES: Partial<Record<ErrorCode, number>> = {
  method_not_allowed: COMMAND_NOT_SUPPORTED,
  bad_request: ADDRESS_NOT_SUPPORTED,
  upstream_unresolved: HOST_UNREACHABLE,
  upstream_unreachable: REFUSED,
  upstream_timeout: TTL_EXPIRED,
  upstream_failed: GENERAL_FAILURE,
  store_unavailable: GENERAL_FAILURE,
  internal: GENERAL_FAILURE,
}

/** Length of the address, and of what says how long it is; null for a type that there is not. */
function addressLength(type: number, first: number): number | null {
  if (type === IPV4) return 4
  if (type === IPV6) return 16
  return type === NAME ? 1 + first : null
}

function authorityOf(type: number, address: Buffer, port: number): Authority {
  if (port === 0) throw new CoatcheckError('invalid_host', 'The port is 0.', 'Name a port from 1 to 65535.')
  if (type === NAME) {
    const name = address.toString('latin1', 1)
    // Clients that are told to resolve nothing send literal addresses as names.
    return { host: name.includes(':') && !name.startsWith('[') ? canonicalAddress(name) : canonicalHost(name), port }
  }
  if (type === IPV4) return { host: canonicalAddress([...address].join('.')), port }
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i).toString(16))
  return { host: canonicalAddress(groups.join(':')), port }
}

function unknownType(): never {
  throw new CoatcheckError(
    'bad_request',
    'There is no such type of address.',
    'Send a name, an IPv4 or an IPv6 address.',
  )
}

function requireVersion(bytes: Buffer, version: number): void {
  if (bytes[0] !== version) throw malformed()
}

function malformed(): CoatcheckError {
  return new CoatcheckError('bad_request', 'This is not SOCKS5.', 'Use the URL socks5h://NAME:TOKEN@HOST:PORT.')
}
