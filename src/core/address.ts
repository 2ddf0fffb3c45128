/**
 * An IP address is dialled only when it is public, or when a setting names its range; never when it is cloud metadata.
 *
 * Text is read strictly: dotted decimal, or RFC 4291 text without brackets or zone. Everything else is `invalid`
 * and refused. IPv6 outside 2000::/3 is never public, so ranges that IANA has yet to give out are refused too.
 * An IPv4 address written inside an IPv6 one is judged as that IPv4 address as well.
 */
import { isIPv6 } from 'node:net'
import { CoatcheckError } from './errors.ts'

/** An address as a number: 32 bits for family 4, 128 for family 6. */
export interface IpAddress {
  readonly family: 4 | 6
  readonly value: bigint
}

/** `own`: one of our listeners. `translated`: IPv6 that a gateway turns into IPv4 (NAT64, 6to4, Teredo). */
export type AddressKind =
  | 'public'
  | 'loopback'
  | 'private'
  | 'link_local'
  | 'metadata'
  | 'multicast'
  | 'reserved'
  | 'unspecified'
  | 'translated'
  | 'own'
  | 'invalid'

export type AddressDecision =
  | { readonly allow: true }
  | {
      readonly allow: false
      readonly reason: 'address_denied'
      readonly kind: AddressKind
      readonly message: string
      readonly hint: string
    }

export interface AddressGuard {
  /** Judges one resolved address or literal, before it is dialled and again on the connected socket. */
  check(ip: string): AddressDecision
}

interface Range extends IpAddress {
  readonly bits: number
}

const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`)

/** Strict dotted decimal: four octets, no leading zeros (RFC 3986 section 3.2.2). */
export function isIpv4(text: string): boolean {
  return text.length <= 15 && IPV4.test(text)
}

const low32 = (value: bigint): bigint => value & 0xffffffffn

function ipv4Value(text: string): bigint {
  return text.split('.').reduce((value, octet) => value * 256n + BigInt(octet), 0n)
}

function groupsOf(text: string): bigint[] {
  return text === '' ? [] : text.split(':').map((group) => BigInt(`0x${group}`))
}

function ipv6Value(text: string): bigint | undefined {
  if (text.length > 45 || !/^[0-9a-f:.]+$/i.test(text) || !isIPv6(text)) return undefined
  let hex = text
  if (text.includes('.')) {
    const tail = text.slice(text.lastIndexOf(':') + 1)
    if (!isIpv4(tail)) return undefined
    const value = ipv4Value(tail)
    hex = `${text.slice(0, -tail.length)}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`
  }
  const [head = '', tail] = hex.split('::')
  const before = groupsOf(head)
  const after = groupsOf(tail ?? '')
  const zeros = Array<bigint>(8 - before.length - after.length).fill(0n)
  return [...before, ...zeros, ...after].reduce((value, group) => (value << 16n) | group, 0n)
}

/** The address, or undefined when the text is not strictly one. IPv6 comes without brackets and without a zone. */
export function parseAddress(text: string): IpAddress | undefined {
  if (isIpv4(text)) return { family: 4, value: ipv4Value(text) }
  const value = ipv6Value(text)
  return value === undefined ? undefined : { family: 6, value }
}

function dotted(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => ((value >> shift) & 0xffn).toString()).join('.')
}

/** RFC 5952 text without brackets; IPv4-mapped addresses keep their dotted tail (section 5). */
export function formatAddress(address: IpAddress): string {
  if (address.family === 4) return dotted(address.value)
  if (address.value >> 32n === 0xffffn) return `::ffff:${dotted(low32(address.value))}`
  const groups = Array.from({ length: 8 }, (_, index) => (address.value >> BigInt(112 - 16 * index)) & 0xffffn)
  let start = -1
  let length = 1
  for (let at = 0; at < 8; at++) {
    let end = at
    while (end < 8 && groups[end] === 0n) end++
    if (end - at > length) [start, length] = [at, end - at]
  }
  const text = (part: readonly bigint[]) => part.map((group) => group.toString(16)).join(':')
  if (start < 0) return text(groups)
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`
}

function range(cidr: string): Range {
  const parsed = readCidr(cidr)
  if (typeof parsed === 'string') throw new CoatcheckError('internal', `The built-in range ${cidr} ${parsed}.`, '')
  return parsed
}

function covers(range: Range, address: IpAddress): boolean {
  if (range.family !== address.family) return false
  const rest = BigInt((range.family === 4 ? 32 : 128) - range.bits)
  return range.value >> rest === address.value >> rest
}

/** First match wins: narrower ranges stand above the wider ones that hold them. */
const KINDS: readonly (readonly [AddressKind, readonly Range[]])[] = (
  [
    // Clouds: AWS, GCP, Azure and most others; ECS; EKS; Azure wire server; Alibaba; Oracle; Scaleway; Tencent; Rancher; OpenStack.
    ['metadata', ['169.254.169.254', '169.254.170.2', '169.254.170.23', '168.63.129.16', '100.100.100.200']],
    ['metadata', ['192.0.0.192', '169.254.42.42', '169.254.0.23', '169.254.169.250', 'fe80::a9fe:a9fe']],
    ['metadata', ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254', 'fd00:42::42']],
    ['unspecified', ['0.0.0.0', '::']],
    ['loopback', ['127.0.0.0/8', '::1']],
    ['link_local', ['169.254.0.0/16', 'fe80::/10']],
    ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7', 'fec0::/10']],
    ['multicast', ['224.0.0.0/4', 'ff00::/8']],
    ['reserved', ['0.0.0.0/8', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '198.18.0.0/15', '198.51.100.0/24']],
    ['reserved', ['203.0.113.0/24', '240.0.0.0/4', '2001:db8::/32', '3fff::/20']],
    ['translated', ['64:ff9b::/96', '64:ff9b:1::/48', '2001::/32', '2002::/16', '::/96', '::ffff:0:0:0/96']],
    ['reserved', ['2001::/23']],
    ['public', ['0.0.0.0/0', '2000::/3']],
    ['reserved', ['::/0']],
  ] satisfies [AddressKind, string[]][]
).map(([kind, cidrs]) => [kind, cidrs.map(range)] as const)

/** Where IPv6 ranges keep an IPv4 address (RFC 4291, 6052, 8215, 3056, 7915; Teredo, RFC 4380, keeps it inverted). */
const EMBEDDINGS: readonly (readonly [Range, (value: bigint) => readonly bigint[]])[] = [
  [range('::/96'), (value) => [low32(value)]],
  [range('::ffff:0:0:0/96'), (value) => [low32(value)]],
  [range('64:ff9b::/96'), (value) => [low32(value)]],
  [range('64:ff9b:1::/48'), (value) => [low32(value), ((value >> 48n) & 0xffff0000n) | ((value >> 40n) & 0xffffn)]],
  [range('2002::/16'), (value) => [low32(value >> 80n)]],
  [range('2001::/32'), (value) => [low32(value >> 64n), low32(~value)]],
]

function embedded(address: IpAddress): IpAddress[] {
  const embedding = EMBEDDINGS.find(([range]) => covers(range, address))
  return embedding === undefined ? [] : embedding[1](address.value).map((value) => ({ family: 4, value }))
}

/** An IPv4-mapped address is the IPv4 address to the socket that dials it. */
function unmap(address: IpAddress): IpAddress {
  const mapped = address.family === 6 && address.value >> 32n === 0xffffn
  return mapped ? { family: 4, value: low32(address.value) } : address
}

function kindOf(address: IpAddress): AddressKind {
  const own = KINDS.find(([, ranges]) => ranges.some((range) => covers(range, address)))?.[0] ?? 'reserved'
  if (own !== 'translated') return own
  const inner = embedded(address).map(kindOf)
  return inner.includes('metadata') ? 'metadata' : 'translated'
}

/** What an address is for. Total: anything that is not strictly an address is `invalid`. */
export function classifyAddress(ip: string): AddressKind {
  const address = parseAddress(ip)
  return address === undefined ? 'invalid' : kindOf(unmap(address))
}

/** The range, or what is wrong with it. A bare address is a range of one. */
function readCidr(cidr: string): Range | string {
  const [text = '', bitsText, ...more] = cidr.split('/')
  const address = parseAddress(text)
  if (address === undefined || more.length > 0) return 'is not an address range such as 10.0.0.0/8'
  const width = address.family === 4 ? 32 : 128
  if (bitsText !== undefined && !/^(?:0|[1-9][0-9]{0,2})$/.test(bitsText)) return 'has a malformed prefix length'
  const bits = bitsText === undefined ? width : Number(bitsText)
  if (bits > width) return `has a prefix longer than ${width} bits`
  const rest = BigInt(width - bits)
  const value = (address.value >> rest) << rest
  if (value !== address.value)
    return `has bits beyond its prefix: write ${formatAddress({ ...address, value })}/${bits}`
  if (unmap(address) !== address) return `is IPv4 written as IPv6: write ${formatAddress(unmap(address))}`
  return { family: address.family, value, bits }
}

function readCidrs(cidrs: readonly string[]): Range[] {
  const read = cidrs.map(readCidr)
  const mistakes = read.flatMap((range, index) => (typeof range === 'string' ? [`Range ${index + 1} ${range}`] : []))
  if (mistakes.length > 0) {
    throw new CoatcheckError('invalid_input', `${mistakes.join('; ')}.`, 'Write ranges as 10.0.0.0/8 or fd00::/8.')
  }
  return read.filter((range) => typeof range !== 'string')
}

function refuse(kind: AddressKind): AddressDecision {
  const hint = {
    metadata: 'Cloud metadata addresses are never dialled, whatever egress.privateAddresses says.',
    own: 'coatcheck does not dial its own listeners.',
    invalid: 'Use a host name, or an IP address in its standard form.',
  }
  return {
    allow: false,
    reason: 'address_denied',
    kind,
    message: `This host leads to an address that is not dialled (${kind}).`,
    hint:
      kind in hint ? hint[kind as keyof typeof hint] : 'An operator can allow its range in egress.privateAddresses.',
  }
}

/**
 * Compiles the guard. `allowed`: CIDRs that may be dialled though not public; throws `invalid_input` naming every bad one.
 * `own`: addresses that are coatcheck's alone, refused whatever `allowed` says; asked at every check, so it may change.
 * For listeners that share an address with others use `isOwnListener`.
 */
export function compileAddressGuard(options: {
  readonly allowed: readonly string[]
  readonly own: () => readonly string[]
}): AddressGuard {
  const allowed = readCidrs(options.allowed)
  const isAllowed = (address: IpAddress): boolean => allowed.some((range) => covers(range, address))
  const innerPasses = (inner: IpAddress): boolean => kindOf(inner) === 'public' || isAllowed(inner)
  return {
    check(ip) {
      const parsed = parseAddress(ip)
      if (parsed === undefined) return refuse('invalid')
      const address = unmap(parsed)
      const kind = kindOf(address)
      if (kind === 'metadata') return refuse(kind)
      if (options.own().some((own) => isSame(own, address))) return refuse('own')
      if (kind === 'public') return { allow: true }
      // A range that covers a translated address says nothing of the IPv4 address behind it.
      const passes = isAllowed(address) && embedded(address).every(innerPasses)
      return passes ? { allow: true } : refuse(kind)
    },
  }
}

function isSame(text: string, address: IpAddress): boolean {
  const parsed = parseAddress(text)
  if (parsed === undefined) return false
  const other = unmap(parsed)
  return other.family === address.family && other.value === address.value
}

/**
 * True when dialling `ip:port` would reach one of our listeners. A listener on 0.0.0.0 or :: is reached by every loopback
 * address and by every one of `local`, the addresses of this machine's interfaces; dialling 0.0.0.0 or :: reaches loopback.
 * What cannot be read counts as reached.
 */
export function isOwnListener(
  ip: string,
  port: number,
  own: readonly { readonly address: string; readonly port: number }[],
  local: readonly string[] = [],
): boolean {
  const parsed = parseAddress(ip)
  return own.some((listener) => {
    if (listener.port !== port) return false
    if (parsed === undefined) return true
    const address = unmap(parsed)
    const bound = classifyAddress(listener.address)
    if (bound === 'invalid' || isSame(listener.address, address)) return true
    const dialled = kindOf(address)
    if (dialled === 'unspecified') return bound === 'loopback' || bound === 'unspecified'
    if (bound !== 'unspecified') return false
    return dialled === 'loopback' || local.some((text) => isSame(text, address))
  })
}
