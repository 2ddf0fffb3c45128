/**
 * Where a sandbox may go at all: any matching deny rule refuses, whatever else allows; the order of rules never matters.
 *
 * A deny rule refuses where host, ports, methods and paths all match; a part left out matches everything. An allow rule opens
 * a host when the default is deny, and its ports in either case; it never narrows anything and never outweighs a deny.
 * Paths are compared without their query: a deny rule refuses when the path matches as sent or percent-decoded, with or
 * without a trailing slash; an allow rule takes only its own spelling. Where path rules stand, a path that servers read in
 * different ways is refused. Paths are compared with case (RFC 3986 section 6.2.2.1): deny every spelling that a server takes.
 */
import { CoatcheckError } from './errors.ts'
import type { CanonicalHost } from './host.ts'
import { HostIndex, readHostPattern } from './host-pattern.ts'

export interface EgressRule {
  readonly action: 'allow' | 'deny'
  /** A name, `*.` + name, an IP literal, or `*` for every host. */
  readonly host: string
  readonly ports?: readonly number[]
  readonly methods?: readonly string[]
  /** An exact path, or a prefix ending in `*`. Percent-encoded as on the wire. */
  readonly paths?: readonly string[]
}

export interface EgressSettings {
  readonly default: 'allow' | 'deny'
  /** Ports open on every host that is allowed. */
  readonly ports: readonly number[]
  readonly rules: readonly EgressRule[]
}

/** `method` and `path` are absent before a request is known, such as on CONNECT. */
export interface EgressRequest {
  readonly host: CanonicalHost
  readonly port: number
  readonly method?: string
  /** Origin-form as sent, query included. */
  readonly path?: string
}

export type EgressDecision =
  | { readonly allow: true }
  | {
      readonly allow: false
      readonly reason: 'egress_denied' | 'port_denied'
      readonly message: string
      readonly hint: string
    }

export interface EgressPolicy {
  /**
   * Without a method or path the answer is whether some request may pass; each request must then be judged with both.
   * A tunnel whose requests nobody will see must also ask `needsRequest`.
   */
  decide(request: EgressRequest): EgressDecision
  /** True when methods or paths decide about this host and port, so that a blind tunnel to it would evade the rules. */
  needsRequest(host: CanonicalHost, port: number): boolean
}

interface PathPattern {
  readonly prefix: boolean
  readonly raw: string
  readonly decoded: string
}

interface CompiledRule {
  readonly action: 'allow' | 'deny'
  readonly ports: ReadonlySet<number> | undefined
  readonly methods: ReadonlySet<string> | undefined
  readonly paths: readonly PathPattern[] | undefined
}

const EVERY_HOST = '*'
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/

function percentDecode(path: string): string {
  return path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

/**
 * True for a path that some server may read as another one: dot segments and empty segments, encoded or not, path parameters,
 * backslashes, fragments, control characters, bytes outside ASCII, stray or doubled percent-encoding, encoded non-UTF-8
 * (overlong forms of "/" and "." have passed filters before).
 */
function isAmbiguousPath(path: string): boolean {
  if (!path.startsWith('/') || /%(?![0-9a-f]{2})|%25[0-9a-f]{2}|#|[^\x21-\x7e]/i.test(path)) return true
  const decoded = percentDecode(path)
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[;\\\x00-\x1f\x7f]|\/\/|\/\.{1,2}(?:\/|$)/.test(decoded) || !isUtf8(path)
}

function readPath(text: string): PathPattern | undefined {
  const prefix = text.endsWith('*')
  const raw = prefix ? text.slice(0, -1) : text
  const path = raw === '' && prefix ? '/' : raw
  if (/[*?#]/.test(path) || isAmbiguousPath(path)) return undefined
  return { prefix, raw: path, decoded: percentDecode(path) }
}

function matchesOne(pattern: string, prefix: boolean, path: string): boolean {
  return prefix ? path.startsWith(pattern) : path === pattern
}

function matchesPath(pattern: PathPattern, path: string, action: 'allow' | 'deny'): boolean {
  const { prefix, raw, decoded } = pattern
  if (action === 'allow') return matchesOne(raw, prefix, path)
  const plain = percentDecode(path)
  const slashless = plain.length > 1 && plain.endsWith('/') ? plain.slice(0, -1) : plain
  return [path, plain, slashless, `${slashless}/`].some(
    (reading) => matchesOne(raw, prefix, reading) || matchesOne(decoded, prefix, reading),
  )
}

/** What is wrong with a rule, each with its fix; empty when nothing is. */
function flawsOf(rule: EgressRule, settings: EgressSettings): string[] {
  const flaws: string[] = []
  const { ports, methods, paths } = rule
  for (const [name, list] of Object.entries({ ports, methods, paths })) {
    if (list?.length === 0) flaws.push(`${name} is empty: leave it out to match every one`)
  }
  if (ports?.some((port) => !isPort(port)) === true) flaws.push('ports are whole numbers from 1 to 65535')
  if (methods?.some((method) => !TOKEN.test(method)) === true) flaws.push('methods are names such as GET')
  if (paths?.some((path) => readPath(path) === undefined) === true) {
    flaws.push('paths begin with "/", hold "*" at the end only, and no query, dot segment, "//" or ";"')
  }
  const narrows = methods !== undefined || paths !== undefined
  if (settings.default === 'allow' && rule.action === 'allow' && narrows && ports === undefined) {
    flaws.push('an allow rule narrows nothing while the default is allow: deny the rest, or set the default to deny')
  }
  return flaws
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535
}

function hostOf(rule: EgressRule): string {
  if (rule.host.trim() === EVERY_HOST) return EVERY_HOST
  const { wildcard, name } = readHostPattern(rule.host)
  return wildcard ? `*.${name}` : name
}

function compileRule(rule: EgressRule): CompiledRule {
  return {
    action: rule.action,
    ports: rule.ports && new Set(rule.ports),
    // A deny rule is compared with the method folded, so that `post` does not slip past POST.
    methods: rule.methods && new Set(rule.methods.map((method) => method.toUpperCase())),
    paths: rule.paths?.map(readPath).filter((path) => path !== undefined),
  }
}

function compileRules(settings: EgressSettings): (host: string) => readonly CompiledRule[] {
  const everywhere: CompiledRule[] = []
  const index = new HostIndex<CompiledRule>()
  const mistakes: string[] = settings.ports.every(isPort) ? [] : ['ports are whole numbers from 1 to 65535']
  for (const [at, rule] of settings.rules.entries()) {
    const flaws = flawsOf(rule, settings)
    try {
      const host = hostOf(rule)
      if (host === EVERY_HOST) everywhere.push(compileRule(rule))
      else index.add(host, compileRule(rule))
    } catch (error) {
      if (!(error instanceof CoatcheckError)) throw error
      flaws.push(`${error.message} ${error.hint}`)
    }
    mistakes.push(...flaws.map((flaw) => `rules[${at}]: ${flaw}`))
  }
  if (mistakes.length > 0) {
    const hint = 'A rule is a host with, if wanted, ports, methods and paths.'
    throw new CoatcheckError('invalid_input', `The egress rules are not usable: ${mistakes.join('; ')}.`, hint)
  }
  if (settings.rules.length === 0) return () => everywhere
  return (host) => [...everywhere, ...index.matching(host)]
}

/** Whether a rule of this host speaks about this request. What is not known yet never denies and never withholds an allow. */
function speaksOf(rule: CompiledRule, { port, method, path }: EgressRequest): boolean {
  if (rule.ports?.has(port) === false) return false
  const denies = rule.action === 'deny'
  if (rule.methods !== undefined) {
    if (method === undefined ? denies : !rule.methods.has(denies ? method.toUpperCase() : method)) return false
  }
  if (rule.paths === undefined) return true
  if (path === undefined) return !denies
  return rule.paths.some((pattern) => matchesPath(pattern, path, rule.action))
}

function refuse(reason: 'egress_denied' | 'port_denied', message: string, hint: string): EgressDecision {
  return { allow: false, reason, message, hint }
}

/** Compiles the settings; throws `invalid_input` naming every mistake at once. */
export function compileEgress(settings: EgressSettings): EgressPolicy {
  const rulesFor = compileRules(settings)
  const openPorts = new Set(settings.ports)
  return {
    decide(request) {
      const query = request.path?.indexOf('?') ?? -1
      const path = query < 0 ? request.path : request.path?.slice(0, query)
      const judged = path === undefined ? request : { ...request, path }
      const rules = rulesFor(request.host).filter((rule) => rule.ports?.has(request.port) !== false)
      if (path !== undefined && rules.some((rule) => rule.paths !== undefined) && isAmbiguousPath(path)) {
        const message = 'Servers read this path in different ways, and egress rules judge the paths of this host.'
        return refuse('egress_denied', message, 'Send the path without dot segments, "//", ";" or doubled encoding.')
      }
      const speaking = rules.filter((rule) => speaksOf(rule, judged))
      if (speaking.some((rule) => rule.action === 'deny')) {
        return refuse('egress_denied', 'An egress rule denies this request.', 'An operator can change egress.rules.')
      }
      if (settings.default === 'deny' && speaking.length === 0) {
        const message = 'No egress rule allows this request, and what is not allowed is denied.'
        return refuse('egress_denied', message, 'An operator can allow this host in egress.rules.')
      }
      if (openPorts.has(request.port) || speaking.some((rule) => rule.ports !== undefined)) return { allow: true }
      const message = `Port ${request.port} of this host is not open.`
      return refuse(
        'port_denied',
        message,
        'An operator can open it in egress.ports, or for this host in egress.rules.',
      )
    },
    needsRequest(host, port) {
      const rules = rulesFor(host).filter((rule) => rule.ports?.has(port) !== false)
      return rules.some((rule) => rule.methods !== undefined || rule.paths !== undefined)
    },
  }
}
