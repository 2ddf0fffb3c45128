/** The settings, as the rest of the program reads them: parsed, checked and in base units (milliseconds, bytes). */
import type { EgressRule } from './core/egress.ts'

/** A host name or bare IP address (IPv6 without brackets), and a port; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** `required`: each connection names its sandbox and token. `sandbox`: every connection of this listener is that one. */
export type ProxyIdentity = { readonly kind: 'required' } | { readonly kind: 'sandbox'; readonly name: string }

export interface ProxySettings {
  readonly listen: ListenAddress
  readonly identity: ProxyIdentity
  readonly intercept: 'all' | 'needed'
  /** Normal form of core/host-pattern.ts. */
  readonly passthrough: readonly string[]
  readonly http2: boolean
  /** What a sandbox gets that ends its side of a connection and waits. */
  readonly halfClosed: 'abort' | 'answer'
}

/** Where a gateway's route goes: `https://host[:port][/prefix]`, host canonical, no slash at the end. */
export type GatewayOrigin = string

export interface GatewaySettings {
  /** Null: there is no gateway. */
  readonly listen: ListenAddress | null
  readonly identity: ProxyIdentity
  /** Name -> origin. */
  readonly routes: Readonly<Record<string, GatewayOrigin>>
}

/** `sources`: by the address that a connection comes from. */
export type TransparentIdentity = { readonly kind: 'sources' } | { readonly kind: 'sandbox'; readonly name: string }

export interface TransparentSettings {
  readonly listenTls: ListenAddress | null
  readonly listenHttp: ListenAddress | null
  readonly identity: TransparentIdentity
  /** CIDR -> name or id of a sandbox. */
  readonly sources: Readonly<Record<string, string>>
  /** Port of the upstream: a server name carries none. */
  readonly tlsPort: number
}

export interface SocksSettings {
  /** Null: SOCKS is not spoken. */
  readonly listen: ListenAddress | null
  readonly identity: ProxyIdentity
}

/** Logins by an identity provider. */
export interface OidcSettings {
  /** As tokens name it, to the letter. */
  readonly issuer: string
  readonly audience: string
  /** An https URL, or the path of a file with a JWK set. */
  readonly jwks: string
  /** A claim that holds the role; null = the principal's own role. */
  readonly roleClaim: string | null
}

export interface ApiSettings {
  readonly listen: ListenAddress
  readonly oidc: OidcSettings | null
}

export interface EgressSettings {
  readonly default: 'allow' | 'deny'
  readonly rules: readonly EgressRule[]
  readonly ports: readonly number[]
  /** CIDRs, network address first, IPv6 lower case. */
  readonly privateAddresses: readonly string[]
}

export interface UpstreamSettings {
  /** Path of a PEM file. */
  readonly extraCa: string | null
  /** Canonical host -> IP address. */
  readonly resolve: Readonly<Record<string, string>>
  /** `http://[user:pass@]host:port` or `socks5://…`; may hold a password, so it is never printed. */
  readonly proxy: string | null
  /** Milliseconds, like every timeout here. */
  readonly connectTimeout: number
  readonly headersTimeout: number
  readonly idleTimeout: number
  /** What speaks HTTP/1.1 on connections to upstreams. */
  readonly engine: 'strict' | 'undici'
}

/** What becomes of a request that may not have the value: 403, sent on unchanged, or sent on unchanged and reported. */
export type DeniedAction = 'refuse' | 'withhold' | 'report'

export interface SecretSettings {
  readonly requireHosts: boolean
  /** Placement texts that core/placement.ts accepts. */
  readonly placements: readonly string[]
  readonly onDenied: DeniedAction
  readonly inBody: DeniedAction
  readonly largeBody: 'chunk' | 'refuse'
  readonly masking: 'required' | 'off'
}

export interface AuditSettings {
  readonly durability: 'full' | 'process'
  /** `stdout`, `file:PATH`, or `none` alone. */
  readonly sinks: readonly string[]
}

export interface KeyringSettings {
  /** `file` or `env:NAME`. */
  readonly source: string
}

export interface LogSettings {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
}

export interface LimitSettings {
  readonly connections: number
  readonly tunnelsPerSandbox: number
  /** Per sandbox. */
  readonly newLeavesPerSecond: number
  readonly headerBytes: number
  /** How long a request head may take. */
  readonly headersTimeout: number
  readonly handshakeTimeout: number
  /** How long an open keep-alive connection or tunnel may be silent. */
  readonly idleTimeout: number
  /** The largest body that is completed before it is rewritten. */
  readonly bodyBytes: number
}

export interface Settings {
  readonly dataDir: string
  /** `sqlite` or `postgres://…`; may hold a password, so it is never printed. */
  readonly database: string
  readonly proxy: ProxySettings
  readonly gateway: GatewaySettings
  readonly transparent: TransparentSettings
  readonly socks: SocksSettings
  readonly api: ApiSettings
  readonly egress: EgressSettings
  readonly upstream: UpstreamSettings
  readonly secrets: SecretSettings
  readonly audit: AuditSettings
  readonly keyring: KeyringSettings
  readonly log: LogSettings
  readonly limits: LimitSettings
}

/** The parts of Settings that hold further settings; the rest are settings themselves. */
export type SettingGroup = Exclude<keyof Settings, 'dataDir' | 'database'>

/** `dataDir`, `proxy.listen`, …: every setting there is. */
export type SettingPath =
  | Exclude<keyof Settings, SettingGroup>
  | { [G in SettingGroup]: `${G}.${Extract<keyof Settings[G], string>}` }[SettingGroup]

/** The type of the setting at a path. */
export type SettingAt<P extends SettingPath> = P extends `${infer G extends SettingGroup}.${infer N}`
  ? N extends keyof Settings[G]
    ? Settings[G][N]
    : never
  : P extends keyof Settings
    ? Settings[P]
    : never
