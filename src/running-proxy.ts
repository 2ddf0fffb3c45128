/** Builds the proxy from the settings and one data directory, and starts it. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { LeafCache } from './authority/leaf-cache.ts'
import { compileAddressGuard } from './core/address.ts'
import { compileEgress } from './core/egress.ts'
import { CoatcheckError } from './core/errors.ts'
import { compileHosts } from './core/host-pattern.ts'
import { MaskerCache } from './core/masking.ts'
import type { Clock, Log } from './core/ports.ts'
import type { DataDirectory } from './data-directory.ts'
import { type EngineOf, H1Forwarder } from './proxy/forward.ts'
import { GatewayListener } from './proxy/gateway.ts'
import { ProxyListener } from './proxy/listener.ts'
import { LoopGuard } from './proxy/loop-guard.ts'
import type { Forwarder } from './proxy/message.ts'
import { RateLimit } from './proxy/rate-limit.ts'
import { DnsResolver } from './proxy/resolver.ts'
import { SocksListener } from './proxy/socks5.ts'
import { SourceIdentity } from './proxy/source-identity.ts'
import { StandingGrants } from './proxy/standing-grants.ts'
import { strictClient } from './proxy/strict-client.ts'
import { TransparentHttpListener, TransparentTlsListener } from './proxy/transparent.ts'
import { TunnelServer } from './proxy/tunnel-server.ts'
import { WebSocketForwarder } from './proxy/upgrade.ts'
import { Upstream } from './proxy/upstream.ts'
import { NegotiatingForwarder } from './proxy/upstream-protocol.ts'
import { upstreamContext } from './proxy/upstream-tls.ts'
import type { ListenAddress, Settings } from './settings.ts'

/** Listeners of this process, which the proxy never dials; the API's is added once it listens. */
export type OwnListeners = { readonly address: string; readonly port: number }[]

export interface ProxyParts {
  readonly settings: Settings
  readonly data: DataDirectory
  readonly clock: Clock
  readonly log: Log
  readonly own: OwnListeners
}

/** The settings that name a listener of the proxy. */
export type ProxyListenSetting =
  | 'proxy.listen'
  | 'gateway.listen'
  | 'transparent.listenTls'
  | 'transparent.listenHttp'
  | 'socks.listen'

interface Listener {
  readonly setting: ProxyListenSetting
  readonly at: ListenAddress
  readonly listener: {
    listen(host: string, port: number): Promise<AddressInfo>
    close(graceMs: number): Promise<void>
  }
}

export interface RunningProxy {
  /** Where it listens, for every listener that the settings ask for. */
  readonly addresses: ReadonlyMap<ProxyListenSetting, AddressInfo>
  /** Lets exchanges finish for `graceMs`, then cuts what is left. */
  close(graceMs: number): Promise<void>
}

/** Throws `config_invalid` when a file named in the settings is unusable, or it cannot listen; then nothing is left open. */
export async function startProxy(parts: ProxyParts): Promise<RunningProxy> {
  const { settings, own } = parts
  const upstream = await openUpstream(parts)
  const forwarder = await buildForwarder(settings, upstream)
  const ports = exchangePorts(parts, upstream, forwarder)
  const tunnels = new TunnelServer(ports)
  const addresses = new Map<ProxyListenSetting, AddressInfo>()
  const open: Listener['listener'][] = []
  const close = async (graceMs: number) => {
    await Promise.all([...open.map((listener) => listener.close(graceMs)), tunnels.close(graceMs)])
    await forwarder.close()
  }
  try {
    for (const { setting, at, listener } of buildListeners(settings, ports, tunnels)) {
      const address = await listener.listen(at.host, at.port).catch((cause: unknown) => {
        throw cannotListen(setting, at, cause)
      })
      open.push(listener)
      addresses.set(setting, address)
      own.push(address)
    }
  } catch (error) {
    await close(0)
    throw error
  }
  return { addresses, close }
}

function buildListeners(settings: Settings, ports: SharedPorts, tunnels: TunnelServer): readonly Listener[] {
  const { proxy, gateway, socks } = settings
  const listeners: Listener[] = [
    {
      setting: 'proxy.listen',
      at: proxy.listen,
      listener: new ProxyListener({ ...ports, identity: proxy.identity }, tunnels),
    },
    ...transparentListeners(settings.transparent, ports, tunnels),
  ]
  if (gateway.listen !== null) {
    const { identity, routes } = gateway
    const listener = new GatewayListener({ ...ports, identity, routes })
    listeners.push({ setting: 'gateway.listen', at: gateway.listen, listener })
  }
  if (socks.listen !== null) {
    const listener = new SocksListener({ ...ports, identity: socks.identity }, tunnels)
    listeners.push({ setting: 'socks.listen', at: socks.listen, listener })
  }
  return listeners
}

function transparentListeners(
  { listenTls, listenHttp, identity, sources: ranges, tlsPort }: Settings['transparent'],
  ports: SharedPorts,
  tunnels: TunnelServer,
): readonly Listener[] {
  const rule = identity.kind === 'sources' ? { kind: identity.kind, sources: ranges } : identity
  const sources = new SourceIdentity(ports.sandboxes, rule)
  const listeners: Listener[] = []
  if (listenTls !== null) {
    const listener = new TransparentTlsListener({ ...ports, sources, tlsPort }, tunnels)
    listeners.push({ setting: 'transparent.listenTls', at: listenTls, listener })
  }
  if (listenHttp !== null) {
    const listener = new TransparentHttpListener({ ...ports, sources })
    listeners.push({ setting: 'transparent.listenHttp', at: listenHttp, listener })
  }
  return listeners
}

async function openUpstream({ settings, data, own }: ProxyParts): Promise<Upstream> {
  const { extraCa, resolve, proxy, connectTimeout } = settings.upstream
  return new Upstream({
    resolver: new DnsResolver(new Map(Object.entries(resolve))),
    guard: compileAddressGuard({ allowed: settings.egress.privateAddresses, own: () => [] }),
    own: () => own,
    local: localAddresses,
    secureContext: upstreamContext(extraCa === null ? null : await readCa(extraCa), data.authority.certificatePem),
    proxy: proxy === null ? null : new URL(proxy),
    connectTimeoutMs: connectTimeout,
  })
}

/** Undici is loaded only where it is chosen. */
async function engineOf({ engine }: Settings['upstream']): Promise<EngineOf> {
  return engine === 'strict' ? strictClient : (await import('./proxy/undici-client.ts')).undiciClient
}

async function buildForwarder(settings: Settings, upstream: Upstream): Promise<H1Forwarder | NegotiatingForwarder> {
  const limits = {
    headersTimeoutMs: settings.upstream.headersTimeout,
    idleTimeoutMs: settings.upstream.idleTimeout,
    headerBytes: settings.limits.headerBytes,
  }
  const h1 = new H1Forwarder(upstream, limits, await engineOf(settings.upstream))
  return settings.proxy.http2 ? new NegotiatingForwarder(upstream, limits, h1) : h1
}

type SharedPorts = ReturnType<typeof exchangePorts>

/** What every way into the proxy shares. */
function exchangePorts({ settings, data, clock, log }: ProxyParts, upstream: Upstream, forwarder: Forwarder) {
  const { proxy, secrets, limits } = settings
  const grants = new StandingGrants(data.sandboxes)
  return {
    audit: data.audit,
    clock,
    log,
    secrets: data.mounted,
    sandboxes: data.sandboxes,
    grants,
    egress: compileEgress(settings.egress),
    loops: new LoopGuard(`coatcheck-${randomBytes(4).toString('hex')}`),
    onDenied: secrets.onDenied,
    workspaces: data.settings,
    inBody: secrets.inBody,
    completeBytes: limits.bodyBytes,
    largeBody: secrets.largeBody,
    maskers: secrets.masking === 'required' ? new MaskerCache() : null,
    upstream,
    forwarder,
    upgrader: new WebSocketForwarder(upstream, {
      grants,
      headersTimeoutMs: settings.upstream.headersTimeout,
      idleTimeoutMs: limits.idleTimeout,
    }),
    leaves: new LeafCache({ authority: data.authority, clock }),
    leafRate: new RateLimit(limits.newLeavesPerSecond, clock),
    passthrough: compileHosts(proxy.passthrough),
    intercept: proxy.intercept,
    http2: proxy.http2,
    limits: {
      connections: limits.connections,
      tunnelsPerSandbox: limits.tunnelsPerSandbox,
      headerBytes: limits.headerBytes,
      headersTimeoutMs: limits.headersTimeout,
      handshakeTimeoutMs: limits.handshakeTimeout,
      idleTimeoutMs: limits.idleTimeout,
      halfClosed: proxy.halfClosed,
    },
  }
}

/** An address of the settings that cannot be had. */
export function cannotListen(setting: string, { host, port }: ListenAddress, cause: unknown): CoatcheckError {
  return new CoatcheckError(
    'config_invalid',
    `Cannot listen on ${host}:${port}.`,
    `Choose another address in ${setting}, or stop what uses it.`,
    { cause },
  )
}

function localAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map((address) => address.address))
}

async function readCa(path: string): Promise<string> {
  const pem = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new CoatcheckError(
      'config_invalid',
      `upstream.extraCa cannot be read: ${path}`,
      'Name a readable PEM file.',
      {
        cause,
      },
    )
  })
  if (/-----BEGIN CERTIFICATE-----/.test(pem)) return pem
  throw new CoatcheckError(
    'config_invalid',
    `upstream.extraCa holds no certificate: ${path}`,
    'Name a PEM file of CAs.',
  )
}
