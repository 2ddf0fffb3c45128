/**
 * Name to addresses. Looked up with c-ares, not with the four getaddrinfo threads that files and cryptography share,
 * so that one workspace's dead names cannot stall another; what only the system's resolver knows (hosts file, split
 * DNS) is asked for there afterwards, two at a time.
 */
import { lookup, Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import { CoatcheckError } from '../core/errors.ts'

export interface NameResolver {
  /** Every address of the name, at least one. Throws `upstream_unresolved`. */
  resolve(host: string): Promise<readonly string[]>
}

const SYSTEM_LOOKUPS = 2
const SYSTEM_QUEUE = 64

export class DnsResolver implements NameResolver {
  readonly #static: ReadonlyMap<string, string>
  readonly #dns: Resolver
  #running = 0
  readonly #waiting: (() => void)[] = []

  /** @param fixed `upstream.resolve`: canonical name -> address, as curl's --resolve. */
  constructor(fixed: ReadonlyMap<string, string>, servers: readonly string[] = []) {
    this.#static = fixed
    this.#dns = new Resolver({ timeout: 2_000, tries: 2 })
    if (servers.length > 0) this.#dns.setServers(servers)
  }

  async resolve(host: string): Promise<readonly string[]> {
    const fixed = this.#static.get(host)
    if (fixed !== undefined) return [fixed]
    if (isIP(host) !== 0) return [host]
    const [v4, v6] = await Promise.allSettled([this.#dns.resolve4(host), this.#dns.resolve6(host)])
    const found = [...(v4.status === 'fulfilled' ? v4.value : []), ...(v6.status === 'fulfilled' ? v6.value : [])]
    if (found.length > 0) return found
    return this.#system(host)
  }

  async #system(host: string): Promise<readonly string[]> {
    await this.#turn()
    try {
      const found = await lookup(host, { all: true, verbatim: true })
      return found.map((each) => each.address)
    } catch (cause) {
      throw new CoatcheckError(
        'upstream_unresolved',
        'The name of the destination could not be resolved.',
        'Check the name; a name that only you know goes into upstream.resolve.',
        { cause },
      )
    } finally {
      this.#running -= 1
      this.#waiting.shift()?.()
    }
  }

  async #turn(): Promise<void> {
    if (this.#waiting.length >= SYSTEM_QUEUE) {
      throw new CoatcheckError('upstream_unresolved', 'Too many names are being looked up.', 'Try again later.')
    }
    if (this.#running >= SYSTEM_LOOKUPS) await new Promise<void>((resume) => this.#waiting.push(resume))
    this.#running += 1
  }
}
