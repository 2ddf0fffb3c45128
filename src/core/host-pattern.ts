/**
 * A pattern covers exactly the names an operator would read out of it: an exact name, or `*.` + name for that name and all below.
 *
 * Patterns are judged when written and only looked up when matched: an exact map and a map of suffixes walked label by label,
 * never a glob over all entries. micromatch sees only validated patterns and validated names, and only to confirm a match the
 * maps have found: whenever the two disagree, there is no match. It can vouch that the name ends in the pattern's own text
 * and that something stands before it; that the cut falls between labels is the walk's own doing.
 */
import { domainToASCII, domainToUnicode } from 'node:url'
import micromatch from 'micromatch'
import { getPublicSuffix } from 'tldts'
import { parseAddress } from './address.ts'
import { CoatcheckError } from './errors.ts'
import { canonicalHost, isCanonicalName, isIpLiteral } from './host.ts'

const MAX_HOSTS = 100

/** An entry taken apart: `name` is canonical (a name, or an IP literal when `wildcard` is false). */
export interface HostPattern {
  readonly wildcard: boolean
  readonly name: string
  readonly warnings: readonly string[]
}

const FLAWS: readonly (readonly [RegExp, string])[] = [
  [/^$/, 'is empty'],
  [/^[a-z][a-z0-9+.-]*:\/\//i, 'has a scheme'],
  [/@/, 'carries user information'],
  [/^[[\]0-9a-f.:]+\/[0-9]+$/i, 'is an IP range; hosts are names'],
  [/[/?#\\]/, 'has a path or a query'],
  [/\s/, 'contains white space'],
  [/%/, 'contains a percent sign'],
  [/\p{C}/u, 'contains an invisible character'],
  [/^[^:[\]]*:[^:[\]]*$/, 'has a port'],
  [/^(?:\*|\*\.|\*(?:\.\*)+\.?)$/, 'would cover every host'],
  [/^(?!\*\.).*\*|^\*\..*\*/, 'has a wildcard other than a leading "*."'],
  [/[{}()!+?|[\],;^$"'`<>=&~]/, 'contains a character no host name has'],
]

/** Reads one entry typed by an operator, IP literals included; throws `invalid_input` naming the flaw and the normal form. */
export function readHostPattern(raw: string): HostPattern {
  const text = raw.trim()
  const literal = parseAddress(text.replace(/^\[(.*)\]$/, '$1'))
  if (literal !== undefined) return { wildcard: false, name: ipLiteral(text), warnings: [] }
  const flaw = FLAWS.find(([test]) => test.test(text))?.[1]
  if (flaw !== undefined) throw refused(flaw, text)
  const wildcard = text.startsWith('*.')
  const typed = wildcard ? text.slice(2) : text
  const name = toName(typed)
  if (name === undefined) throw refused('is not a host name', text)
  if (wildcard && isIpLiteral(name)) throw refused('is a wildcard over an IP address', text)
  return { wildcard, name, warnings: scriptWarnings(typed, name) }
}

function ipLiteral(text: string): string {
  return canonicalHost(text.includes(':') && !text.startsWith('[') ? `[${text}]` : text)
}

/** The canonical host of a typed name; undefined when it has none. Unicode is converted here and nowhere else. */
function toName(typed: string): string | undefined {
  // oxlint-disable-next-line no-control-regex -- all of ASCII
  const ascii = /^[\x00-\x7f]*$/.test(typed) ? typed : domainToASCII(typed)
  try {
    return canonicalHost(ascii)
  } catch {
    return undefined
  }
}

function refused(flaw: string, text: string): CoatcheckError {
  const form = normalFormOf(text)
  const hint =
    form === undefined ? 'Write api.example.com, or *.example.com for it and every name below.' : `Write ${form}.`
  return new CoatcheckError('invalid_input', `This host ${flaw}.`, hint)
}

/** The host an entry was probably meant as: without scheme, user information, port and path. */
function normalFormOf(text: string): string | undefined {
  const authority = text.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '').replace(/[/?#\\].*$/s, '')
  const host = authority.slice(authority.lastIndexOf('@') + 1).replace(/:[0-9]*$/, '')
  const name = toName(host.replace(/^\*?\./, ''))
  if (name === undefined || isIpLiteral(name)) return undefined
  return host.startsWith('*.') && !isPublicSuffix(name) ? `*.${name}` : name
}

/** Scripts a label may mix with Latin, or with one another, in ordinary use (UTS 39, highly restrictive). */
const SCRIPT_SETS: readonly RegExp[] = [
  /^[\p{Script=Latin}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Common}\p{Script=Inherited}]*$/u,
  /^[\p{Script=Latin}\p{Script=Han}\p{Script=Bopomofo}\p{Script=Common}\p{Script=Inherited}]*$/u,
  /^[\p{Script=Latin}\p{Script=Han}\p{Script=Hangul}\p{Script=Common}\p{Script=Inherited}]*$/u,
  ...['Greek', 'Cyrillic', 'Armenian', 'Hebrew', 'Arabic', 'Thai', 'Devanagari', 'Georgian'].map(
    (script) => new RegExp(`^[\\p{Script=${script}}\\p{Script=Common}\\p{Script=Inherited}]*$`, 'u'),
  ),
]

function scriptWarnings(typed: string, name: string): string[] {
  const unicode = domainToUnicode(name)
  const mixed = unicode.split('.').some((label) => !SCRIPT_SETS.some((set) => set.test(label)))
  if (mixed) return [`${name} mixes scripts within a label: it may look like another name without being it.`]
  return name === typed.toLowerCase().replace(/\.$/, '') ? [] : [`The name was converted: what is stored is ${name}.`]
}

/** ICANN and private suffixes; a name whose children are suffixes themselves (such as kawasaki.jp) counts as one. */
function isPublicSuffix(name: string): boolean {
  const options = { allowPrivateDomains: true }
  const child = `child.${name}`
  return !name.includes('.') || getPublicSuffix(name, options) === name || getPublicSuffix(child, options) === child
}

/** The stored form of one entry of a secret's hosts; throws `invalid_input` with the flaw and the normal form. */
export function normalizeHostPattern(raw: string): { pattern: string; warnings: readonly string[] } {
  const { wildcard, name, warnings } = readHostPattern(raw)
  if (isIpLiteral(name)) {
    throw new CoatcheckError(
      'invalid_input',
      'This host is an IP address; IP addresses cannot be verified as names are.',
      'Write the name that the certificate of the host carries.',
    )
  }
  if (!wildcard) return { pattern: name, warnings }
  if (isPublicSuffix(name)) {
    const reason = name.includes('.') ? 'anyone can register a name below it' : 'it is a single label'
    throw new CoatcheckError(
      'invalid_input',
      `This host is a wildcard over ${name}, which is too wide: ${reason}.`,
      'Write the names themselves, or a wildcard over a name that is yours alone.',
    )
  }
  const takeover = `*.${name} trusts whoever serves any name below ${name}; exact names trust fewer.`
  return { pattern: `*.${name}`, warnings: [...warnings, takeover] }
}

/** A secret's hosts in stored form: order kept, duplicates dropped. One `invalid_input` names every bad entry at once. */
export function normalizeHosts(raw: readonly string[]): { hosts: readonly string[]; warnings: readonly string[] } {
  if (raw.length === 0 || raw.length > MAX_HOSTS) {
    const hint = 'Leave hosts out for a secret that may go anywhere.'
    throw new CoatcheckError('invalid_input', `hosts holds ${raw.length} entries; it needs 1 to ${MAX_HOSTS}.`, hint)
  }
  const hosts = new Set<string>()
  const warnings = new Set<string>()
  const mistakes: { message: string; hint: string }[] = []
  for (const [index, entry] of raw.entries()) {
    try {
      const normalized = normalizeHostPattern(entry)
      hosts.add(normalized.pattern)
      for (const warning of normalized.warnings) warnings.add(warning)
    } catch (error) {
      if (!(error instanceof CoatcheckError)) throw error
      mistakes.push({ message: `hosts[${index}]: ${error.message}`, hint: `hosts[${index}]: ${error.hint}` })
    }
  }
  if (mistakes.length === 0) return { hosts: [...hosts], warnings: [...warnings] }
  const joined = (part: 'message' | 'hint') => mistakes.map((mistake) => mistake[part]).join(' ')
  throw new CoatcheckError('invalid_input', joined('message'), joined('hint'))
}

/** Values filed under patterns in stored form (or IP literals, matched exactly). Looking up costs one map read per label. */
export class HostIndex<T> {
  readonly #exact = new Map<string, T[]>()
  readonly #below = new Map<string, T[]>()

  add(pattern: string, value: T): void {
    const wildcard = pattern.startsWith('*.')
    const name = wildcard ? pattern.slice(2) : pattern
    const map = wildcard ? this.#below : this.#exact
    const values = map.get(name)
    if (values === undefined) map.set(name, [value])
    else values.push(value)
  }

  /** Every value whose pattern covers this canonical host: exact ones first, then the longest suffix first. */
  matching(host: string): readonly T[] {
    const exact = this.#exact.get(host) ?? []
    if (this.#below.size === 0 || isIpLiteral(host)) return exact
    const found = [...exact]
    for (let at = 0; at >= 0; ) {
      found.push(...(this.#below.get(host.slice(at)) ?? []))
      const dot = host.indexOf('.', at)
      at = dot < 0 ? -1 : dot + 1
    }
    return found
  }
}

/** Where a secret may go. */
export interface HostList {
  /** Stored form; null = unrestricted. */
  readonly entries: readonly string[] | null
  /** True when some entry covers this canonical host. Hosts in any other form are never covered by an entry. */
  allows(host: string): boolean
}

type Confirm = (host: string) => boolean

const LITERAL = { nobrace: true, noext: true, nonegate: true, noglobstar: true, nocase: false, posix: false }

/** micromatch's word on one entry, compiled when the entry first matches. */
function confirmation(entry: string): Confirm {
  let matcher: Confirm | undefined
  const apex = entry.startsWith('*.') ? entry.slice(2) : undefined
  return (host) => {
    if (host === apex) return true
    matcher ??= micromatch.matcher(entry, LITERAL)
    return matcher(host)
  }
}

/** Compiles stored hosts; throws `invalid_input` on an entry that is not in stored form. [] allows nothing, null everything. */
export function compileHosts(entries: readonly string[] | null): HostList {
  if (entries === null) return { entries, allows: () => true }
  const index = new HostIndex<Confirm>()
  for (const entry of entries) {
    if (!isCanonicalName(entry.startsWith('*.') ? entry.slice(2) : entry)) {
      throw new CoatcheckError(
        'invalid_input',
        'A stored host is not in its stored form.',
        'Set the hosts of the secret anew.',
      )
    }
    index.add(entry, confirmation(entry))
  }
  return {
    entries,
    allows(host) {
      const found = index.matching(host)
      return found.length > 0 && isCanonicalName(host) && found.some((confirm) => confirm(host))
    },
  }
}

/**
 * Whether a DNS name in a certificate stands for this host (RFC 9525 section 6.3): a wildcard is the whole left-most label,
 * stands for exactly one label, and never for the children of a registry's suffix such as `com` or `co.uk`.
 */
export function certificateNameCovers(name: string, host: string): boolean {
  // Judged before folding: toLowerCase would turn U+212A, the Kelvin sign, into an ASCII k.
  if (!isCanonicalName(host) || !/^[A-Za-z0-9*._-]+$/.test(name)) return false
  const folded = name.toLowerCase()
  if (!folded.startsWith('*.')) return isCanonicalName(folded) && folded === host
  const parent = folded.slice(2)
  if (!isCanonicalName(parent) || !parent.includes('.') || getPublicSuffix(parent) === parent) return false
  return host.slice(host.indexOf('.') + 1) === parent && host.includes('.')
}
