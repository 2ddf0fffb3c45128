/** Who a redirected connection belongs to: the one sandbox of the listener, or the one of the range it comes from. */
import { BlockList, isIPv6 } from 'node:net'
import { CoatcheckError } from '../core/errors.ts'
import type { SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'

interface Source {
  readonly range: BlockList
  readonly bits: number
  readonly sandbox: string
}

/** `sandbox`: name or id. */
export type SourceRule =
  | { readonly kind: 'sandbox'; readonly name: string }
  | { readonly kind: 'sources'; readonly sources: Readonly<Record<string, string>> }

export class SourceIdentity {
  readonly #sandboxes: SandboxReader
  readonly #nameOf: (address: string) => string | undefined

  /** @param rule ranges as CIDR or single addresses, already checked. The narrowest that fits decides. */
  constructor(sandboxes: SandboxReader, rule: SourceRule) {
    this.#sandboxes = sandboxes
    if (rule.kind === 'sandbox') this.#nameOf = () => rule.name
    else {
      const sources = compile(rule.sources)
      this.#nameOf = (address) => sources.find(({ range }) => covers(range, address))?.sandbox
    }
  }

  /** @param address as a socket has it. Throws `identity_required`. */
  async identify(address: string | undefined): Promise<SandboxIdentity> {
    const name = this.#nameOf(address ?? '')
    const sandbox = name === undefined ? undefined : await this.#sandboxes.byName(name)
    if (sandbox !== undefined) return sandbox
    throw new CoatcheckError(
      'identity_required',
      'The proxy does not know which sandbox this connection comes from.',
      'An operator can name its address in transparent.sources.',
    )
  }
}

function compile(sources: Readonly<Record<string, string>>): readonly Source[] {
  const compiled = Object.entries(sources).map(([cidr, sandbox]): Source => {
    const [address = '', prefix] = cidr.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    const width = family === 'ipv6' ? 128 : 32
    const bits = prefix === undefined ? width : Number(prefix)
    const range = new BlockList()
    range.addSubnet(address, bits, family)
    return { range, bits: bits + 128 - width, sandbox }
  })
  return compiled.toSorted((a, b) => b.bits - a.bits)
}

function covers(range: BlockList, address: string): boolean {
  // A dual-stack listener shows IPv4 as a mapped IPv6 address.
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '')
  return range.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
}
