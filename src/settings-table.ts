/**
 * Every setting there is: what it means, its default as it is written in a file, and the kind of value it takes.
 *
 * The environment variables, config/coatcheck.yaml and config/coatcheck.schema.json come from this table and nothing else.
 * The compiler holds it to the type `Settings`, path by path.
 */
import { normalizeHostPattern } from './core/host-pattern.ts'
import { formatPlacement, parsePlacement } from './core/placement.ts'
import type { SettingAt, SettingPath } from './settings.ts'
import { egressRule } from './settings-egress-rule.ts'
import type { SettingRow } from './settings-kinds.ts'
import { choice, duration, list, mapOf, orNull, text, trueOrFalse, wholeNumber } from './settings-kinds.ts'
import { LIMITS } from './settings-limits.ts'
import { oidcLogin } from './settings-oidc.ts'
import {
  onlyNone,
  parseCidr,
  parseDatabase,
  parseHostName,
  parseIdentity,
  parseIpAddress,
  parseKeyringSource,
  parseListen,
  parseOrigin,
  parsePath,
  parseRouteName,
  parseSandboxName,
  parseSink,
  parseTransparentIdentity,
  parseUpstreamProxy,
} from './settings-texts.ts'

const listen = text(parseListen, { examples: ['127.0.0.1:8080', '[::1]:8080'] })
const path = text(parsePath)
const port = wholeNumber(1, 65_535)
const hostPattern = text((given) => normalizeHostPattern(given).pattern, {
  examples: ['api.example.com', '*.example.com'],
})
const placement = text((given) => formatPlacement(parsePlacement(given)), {
  examples: ['credential-headers', 'header:x-api-key', 'basic'],
})
const denied = choice('refuse', 'withhold', 'report')

export const SETTINGS: { readonly [P in SettingPath]: SettingRow<SettingAt<P>> } = {
  dataDir: {
    comment: 'Directory of the database, keyring, authority and admin token; relative to the working directory.',
    default: './data',
    kind: path,
  },
  database: {
    comment: 'sqlite (a file in dataDir), or postgres://user@host:5432/name.',
    default: 'sqlite',
    kind: text(parseDatabase),
  },
  'proxy.listen': {
    comment: 'Address of the proxy, for sandboxes. 0.0.0.0:8080 is every IPv4 address of the machine.',
    default: '127.0.0.1:8080',
    kind: listen,
  },
  'proxy.identity': {
    comment: 'required: every connection names its sandbox and token. sandbox:NAME: all are that one (loopback only).',
    default: 'required',
    kind: text(parseIdentity, { examples: ['required', 'sandbox:NAME'] }),
  },
  'proxy.intercept': {
    comment: 'all: end TLS for every host. needed: only for hosts that some mounted secret of the sandbox allows.',
    default: 'all',
    kind: choice('all', 'needed'),
  },
  'proxy.passthrough': {
    comment: 'Hosts whose TLS is never ended, such as pinned ones: audited, but no value is ever released to them.',
    default: [],
    kind: list(hostPattern),
  },
  'proxy.http2': {
    comment: 'Offer HTTP/2 to sandboxes and upstreams, each negotiated apart.',
    default: true,
    kind: trueOrFalse,
  },
  'proxy.halfClosed': {
    comment:
      'A client that ends its side after an HTTP/1.1 request: abort takes it for gone (most that leave look so), answer sends it the answer.',
    default: 'abort',
    kind: choice('abort', 'answer'),
  },
  'gateway.listen': {
    comment: 'Address of the gateway, for clients that cannot use a proxy: http://ADDRESS/gateway/ROUTE/… null: none.',
    default: null,
    kind: orNull(listen),
  },
  'gateway.identity': {
    comment:
      'required: each request names its sandbox and token, in its path or as to a proxy. sandbox:NAME: as above.',
    default: 'required',
    kind: text(parseIdentity, { examples: ['required', 'sandbox:NAME'] }),
  },
  'gateway.routes': {
    comment: 'Route to origin: { openai: https://api.openai.com, azure: https://x.example.com:8443/openai }.',
    default: {},
    kind: mapOf(parseRouteName, text(parseOrigin, { examples: ['https://api.example.com'] })),
  },
  'transparent.listenTls': {
    comment: 'Address that redirected TLS connections arrive at; they go where their server name says. null: none.',
    default: null,
    kind: orNull(listen),
  },
  'transparent.listenHttp': {
    comment: 'Address that redirected plain HTTP arrives at; requests go where their Host says. null: none.',
    default: null,
    kind: orNull(listen),
  },
  'transparent.identity': {
    comment:
      'sources: as transparent.sources says. sandbox:NAME: all redirected connections are that one (loopback only).',
    default: 'sources',
    kind: text(parseTransparentIdentity, { examples: ['sources', 'sandbox:NAME'] }),
  },
  'transparent.sources': {
    comment: 'Range of source addresses to sandbox: { 10.1.2.0/24: agent }. The narrowest range that fits decides.',
    default: {},
    kind: mapOf(parseCidr, text(parseSandboxName)),
  },
  'transparent.tlsPort': {
    comment: 'Port that redirected TLS goes on to.',
    default: 443,
    kind: port,
  },
  'socks.listen': {
    comment: 'Address of the SOCKS5 listener, for clients that speak nothing else. null: none.',
    default: null,
    kind: orNull(listen),
  },
  'socks.identity': {
    comment: 'required: user and password are the name and token of the sandbox. sandbox:NAME: as above.',
    default: 'required',
    kind: text(parseIdentity, { examples: ['required', 'sandbox:NAME'] }),
  },
  'api.listen': {
    comment: 'Address of the API and console. It speaks plain HTTP: beyond loopback, put TLS in front of it.',
    default: '127.0.0.1:8081',
    kind: listen,
  },
  'api.oidc': {
    comment: 'Logins by an identity provider: null, or { issuer: URL, audience, jwks: URL or FILE, roleClaim }.',
    default: null,
    kind: orNull(oidcLogin),
  },
  'egress.default': {
    comment: 'What happens to a request that no rule names: allow or deny.',
    default: 'allow',
    kind: choice('allow', 'deny'),
  },
  'egress.rules': {
    comment: 'Each { allow: HOST } or { deny: HOST }, where wanted with ports, methods, paths. Deny always wins.',
    default: [],
    kind: list(egressRule),
  },
  'egress.ports': {
    comment: 'Ports that may be connected to.',
    default: [80, 443],
    kind: list(port, { whyNotEmpty: 'nothing could be reached' }),
  },
  'egress.privateAddresses': {
    comment:
      'Ranges of private addresses that may be dialled, such as 10.1.0.0/16; cloud metadata is never among them.',
    default: [],
    kind: list(text(parseCidr, { examples: ['10.0.0.0/8', 'fd00::/8'] })),
  },
  'upstream.extraCa': {
    comment: 'PEM file of further authorities to trust upstream, beside the public ones.',
    default: null,
    kind: orNull(path),
  },
  'upstream.resolve': {
    comment: 'Name to address, instead of DNS: { api.internal: 10.1.2.3 }. Such an address is vetted like any other.',
    default: {},
    kind: mapOf(parseHostName, text(parseIpAddress)),
  },
  'upstream.proxy': {
    comment: 'Proxy to go out through: http://host:port, https://… or socks5://…, with user:password@ where needed.',
    default: null,
    kind: orNull(text(parseUpstreamProxy)),
  },
  'upstream.connectTimeout': {
    comment: 'How long connecting to an upstream may take, TLS included.',
    default: '10s',
    kind: duration,
  },
  'upstream.headersTimeout': {
    comment: 'How long an upstream may take to begin its answer.',
    default: '300s',
    kind: duration,
  },
  'upstream.idleTimeout': {
    comment: 'How long an upstream may be silent within its answer.',
    default: '300s',
    kind: duration,
  },
  'upstream.engine': {
    comment: 'What speaks HTTP/1.1 to upstreams: strict (our own client), or undici (no request trailers; Host first).',
    default: 'strict',
    kind: choice('strict', 'undici'),
  },
  'secrets.requireHosts': {
    comment: 'Refuse to create a secret without hosts.',
    default: false,
    kind: trueOrFalse,
  },
  'secrets.placements': {
    comment: 'Where a secret that says nothing else may be put.',
    default: ['credential-headers'],
    kind: list(placement, { whyNotEmpty: 'no secret could be released' }),
  },
  'secrets.onDenied': {
    comment: 'A placeholder that may not be swapped, in headers, query or path: refuse (403), withhold or report.',
    default: 'refuse',
    kind: denied,
  },
  'secrets.inBody': {
    comment: 'The same in a body, where agents often put their whole environment.',
    default: 'report',
    kind: denied,
  },
  'secrets.largeBody': {
    comment:
      'A body with a Content-Length that is too large to be completed first, and that a value may be put into: sent chunked (chunk), or refused with 413 at the first swap (refuse).',
    default: 'chunk',
    kind: choice('chunk', 'refuse'),
  },
  'secrets.masking': {
    comment:
      'required: a released value that comes back in the response becomes the placeholder again. off: it does not.',
    default: 'required',
    kind: choice('required', 'off'),
  },
  'audit.durability': {
    comment: 'An audit event survives a power loss (full), or only a killed process (process, faster).',
    default: 'full',
    kind: choice('full', 'process'),
  },
  'audit.sinks': {
    comment: 'Where events are copied as JSON lines: stdout, file:PATH, or none. The truth is in the database.',
    default: ['stdout'],
    kind: onlyNone(list(text(parseSink), { whyNotEmpty: '"none" says so' })),
  },
  'keyring.source': {
    comment: 'Where the key that seals values comes from: file (in dataDir), or env:NAME.',
    default: 'file',
    kind: text(parseKeyringSource, { examples: ['file', 'env:NAME'] }),
  },
  'log.level': {
    comment: 'The least important line that the operator log shows.',
    default: 'info',
    kind: choice('debug', 'info', 'warn', 'error'),
  },
  ...LIMITS,
}

export const SETTING_PATHS = Object.freeze(Object.keys(SETTINGS) as SettingPath[])

/** `proxy.listen` -> `COATCHECK_PROXY_LISTEN`. */
export function variableOf(path: SettingPath): string {
  return `COATCHECK_${path.replaceAll('.', '_').toUpperCase()}`
}
