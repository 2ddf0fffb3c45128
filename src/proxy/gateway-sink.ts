/**
 * An origin's answer under the gateway's address: redirects lead back through the gateway, and cookies are kept to the
 * route (and, where the path says who asks, to the sandbox), because to the client all routes are one host.
 */
import { type Authority, parseAuthority } from '../core/host.ts'
import type { Route } from './gateway-route.ts'
import { LayeredSink } from './layered-sink.ts'
import type { ResponseSink } from './message.ts'

export class GatewaySink extends LayeredSink {
  readonly #route: Route
  readonly #base: string

  /** @param base what the client puts before the origin's paths, such as `/gateway/openai`. */
  constructor(sink: ResponseSink, route: Route, base: string) {
    super(sink)
    this.#route = route
    this.#base = base
  }

  override head(status: number, reason: string, headers: readonly string[]): void {
    this.sink.head(status, reason, this.#translate(headers))
  }

  override switching(headers: readonly string[]): readonly string[] {
    return this.sink.switching(this.#translate(headers))
  }

  #translate(headers: readonly string[]): string[] {
    const translated = [...headers]
    for (let i = 0; i < headers.length; i += 2) {
      const name = (headers[i] as string).toLowerCase()
      const value = headers[i + 1] as string
      if (name === 'location' || name === 'content-location') translated[i + 1] = this.#location(value)
      if (name === 'set-cookie') translated[i + 1] = this.#cookie(value)
    }
    return translated
  }

  /** Elsewhere than on the route's origin stays as it is; on it but outside the prefix, the whole URL. */
  #location(value: string): string {
    const { scheme, authority, url, prefix } = this.#route
    const [, named, host, rest] = /^(https?):\/\/([^/?#]*)(.*)$/is.exec(value) ?? []
    const ofOrigin = named?.toLowerCase() === scheme && isHost(host ?? '', authority, scheme === 'https' ? 443 : 80)
    const path = ofOrigin ? rest : value
    if (path === undefined || (!ofOrigin && !/^\/(?!\/)/.test(value))) return value
    const below = stripped(path, prefix)
    if (below !== null) return this.#base + below
    return url.slice(0, url.length - prefix.length) + path
  }

  #cookie(value: string): string {
    const parts = value.split(';')
    const kept = parts.filter((part, i) => i === 0 || attributeName(part) !== 'domain')
    return kept.map((part, i) => (i > 0 && attributeName(part) === 'path' ? this.#cookiePath(part) : part)).join(';')
  }

  #cookiePath(attribute: string): string {
    const { prefix } = this.#route
    const path = attribute.slice(attribute.indexOf('=') + 1).trim()
    // Without a path of its own it lies where the request was, and that is below the base.
    if (!path.startsWith('/')) return ' Path='
    const below = stripped(path, prefix)
    if (below !== null) return ` Path=${this.#base}${below}`
    return ` Path=${this.#base}${stripped(prefix, path.replace(/\/$/, '')) === null ? path : ''}`
  }
}

/** What is left of a path below a prefix; null when it is not below it. */
function stripped(path: string, prefix: string): string | null {
  if (!path.startsWith(prefix)) return null
  const below = path.slice(prefix.length)
  return below === '' || /^[/?#]/.test(below) ? below : null
}

function attributeName(part: string): string {
  return (part.split('=', 1)[0] as string).trim().toLowerCase()
}

function isHost(text: string, authority: Authority, defaultPort: number): boolean {
  try {
    const { host, port } = parseAuthority(text, defaultPort)
    return host === authority.host && port === authority.port
  } catch {
    return false
  }
}
