/**
 * The composition root: the program as an object with start and close. The only file that sees every folder, and with
 * data-directory.ts the only one that constructs.
 */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type LocalApi, localApi } from './api/local.ts'
import { buildApi } from './api/server.ts'
import { LeafCache } from './authority/leaf-cache.ts'
import { compileAddressGuard } from './core/address.ts'
import { compileEgress } from './core/egress.ts'
import { CoatcheckError } from './core/errors.ts'
import { compileHosts } from './core/host-pattern.ts'
import type { Clock, Log } from './core/ports.ts'
import { Scrubber } from './core/scrub.ts'
import { DataDirectory } from './data-directory.ts'
import { createLogger } from './logger.ts'
import { UndiciForwarder } from './proxy/forward.ts'
import { ProxyListener } from './proxy/listener.ts'
import { LoopGuard } from './proxy/loop-guard.ts'
import { RateLimit } from './proxy/rate-limit.ts'
import { DnsResolver } from './proxy/resolver.ts'
import { WebSocketForwarder } from './proxy/upgrade.ts'
import { Upstream } from './proxy/upstream.ts'
import { upstreamContext } from './proxy/upstream-tls.ts'
import type { ListenAddress, Settings } from './settings.ts'

export interface StartOptions {
  readonly settings: Settings
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where the public certificate is exported for people; null = nowhere. */
  readonly exportDir: string | null
  /** False: standard output belongs to someone else. */
  readonly ship: boolean
  readonly clock?: Clock
  readonly logTo?: { write(line: string): void }
}

/** Exchanges under way when asked to stop get this long. */
const DRAIN_MS = 30_000

export class App {
  readonly data: DataDirectory
  readonly log: Log
  /** `http://127.0.0.1:8080`: where sandboxes reach the proxy, without credentials. */
  readonly proxyUrl: string
  readonly apiUrl: string
  readonly #stop: (graceMs: number) => Promise<void>

  private constructor(
    parts: Pick<App, 'data' | 'log' | 'proxyUrl' | 'apiUrl'>,
    stop: (graceMs: number) => Promise<void>,
  ) {
    this.data = parts.data
    this.log = parts.log
    this.proxyUrl = parts.proxyUrl
    this.apiUrl = parts.apiUrl
    this.#stop = stop
  }

  /** Opens the data directory and listens. Throws CoatcheckError, and then nothing is left open. */
  static async start(options: StartOptions): Promise<App> {
    refuseUnsafeEnvironment(options.env)
    const { settings, clock = Date.now } = options
    const scrub = new Scrubber()
    const log = createLogger({ level: settings.log.level, scrub, ...(options.logTo && { destination: options.logTo }) })
    const { exportDir, ship } = options
    const data = await DataDirectory.open({ settings, log, scrub, clock, exportDir, ship })
    try {
      return await listen(settings, data, clock, log)
    } catch (error) {
      await data.close()
      throw error
    }
  }

  /** @internal */
  static of(parts: Pick<App, 'data' | 'log' | 'proxyUrl' | 'apiUrl'>, stop: (graceMs: number) => Promise<void>): App {
    return new App(parts, stop)
  }

  /** Calls made as the owner of the data directory, through the API's own routes and checks. */
  localApi(): LocalApi {
    return openLocalApi(this.data, this.log, () => this.proxyUrl)
  }

  async close(graceMs = DRAIN_MS): Promise<void> {
    await this.#stop(graceMs)
  }
}

export function openLocalApi(data: DataDirectory, log: Log, proxyUrl: () => string): LocalApi {
  const ready = () => ({ ok: data.audit.healthy, checks: { audit: data.audit.healthy } })
  return localApi(data.apiDeps({ proxyUrl, ready, log, allowedHosts: () => [] }), data.tokens.systemPrincipal())
}

async function listen(settings: Settings, data: DataDirectory, clock: Clock, log: Log): Promise<App> {
  const own: { address: string; port: number }[] = []
  const upstream = await openUpstream(settings, data, own)
  const forwarder = new UndiciForwarder(upstream, {
    headersTimeoutMs: settings.upstream.headersTimeout,
    idleTimeoutMs: settings.upstream.idleTimeout,
    headerBytes: settings.limits.headerBytes,
  })
  const proxy = buildProxy(settings, data, clock, log, upstream, forwarder)
  const proxyAddress = await proxy.listen(settings.proxy.listen.host, settings.proxy.listen.port)
  const proxyUrl = `http://${authorityOf(settings.proxy.listen, proxyAddress)}`
  own.push({ address: proxyAddress.address, port: proxyAddress.port })
  const api = buildApi(
    data.apiDeps({
      proxyUrl: () => proxyUrl,
      ready: () => ({ ok: data.audit.healthy, checks: { audit: data.audit.healthy } }),
      log,
      allowedHosts: () => ['localhost', '127.0.0.1', '[::1]', settings.api.listen.host],
    }),
  )
  try {
    await api.listen({ host: settings.api.listen.host, port: settings.api.listen.port })
  } catch (error) {
    await proxy.close(0)
    throw cannotListen('api.listen', settings.api.listen, error)
  }
  const apiAddress = api.server.address() as AddressInfo
  own.push({ address: apiAddress.address, port: apiAddress.port })
  const apiUrl = `http://${authorityOf(settings.api.listen, apiAddress)}`
  return App.of({ data, log, proxyUrl, apiUrl }, async (graceMs) => {
    await Promise.all([proxy.close(graceMs), api.close()])
    await forwarder.close()
    await data.close()
  })
}

async function openUpstream(
  settings: Settings,
  data: DataDirectory,
  own: readonly { readonly address: string; readonly port: number }[],
): Promise<Upstream> {
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

function buildProxy(
  settings: Settings,
  data: DataDirectory,
  clock: Clock,
  log: Log,
  upstream: Upstream,
  forwarder: UndiciForwarder,
): ProxyListener {
  const { proxy, secrets, limits } = settings
  return new ProxyListener({
    audit: data.audit,
    clock,
    log,
    secrets: data.mounted,
    sandboxes: data.sandboxes,
    identity: proxy.identity,
    egress: compileEgress(settings.egress),
    loops: new LoopGuard(`coatcheck-${randomBytes(4).toString('hex')}`),
    onDenied: secrets.onDenied,
    inBody: secrets.inBody,
    masking: secrets.masking === 'required',
    upstream,
    forwarder,
    upgrader: new WebSocketForwarder(upstream),
    leaves: new LeafCache({ authority: data.authority, clock }),
    leafRate: new RateLimit(limits.newLeavesPerSecond, clock),
    passthrough: compileHosts(proxy.passthrough),
    intercept: proxy.intercept,
    limits: {
      connections: limits.connections,
      tunnelsPerSandbox: limits.tunnelsPerSandbox,
      headerBytes: limits.headerBytes,
      headersTimeoutMs: limits.headersTimeout,
      handshakeTimeoutMs: limits.handshakeTimeout,
      idleTimeoutMs: limits.idleTimeout,
    },
  })
}

/** An address that clients can use: a wildcard listener is reached over loopback from here. */
function authorityOf(listen: ListenAddress, actual: AddressInfo): string {
  const wildcard = listen.host === '0.0.0.0' || listen.host === '::'
  const host = wildcard ? '127.0.0.1' : listen.host
  return `${host.includes(':') ? `[${host}]` : host}:${actual.port}`
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

function cannotListen(setting: string, { host, port }: ListenAddress, cause: unknown): CoatcheckError {
  return new CoatcheckError(
    'config_invalid',
    `Cannot listen on ${host}:${port}.`,
    `Choose another address in ${setting}, or stop what uses it.`,
    { cause },
  )
}

/** Variables that would undo what this program promises. */
function refuseUnsafeEnvironment(env: Readonly<Record<string, string | undefined>>): void {
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    throw new CoatcheckError(
      'config_invalid',
      'NODE_TLS_REJECT_UNAUTHORIZED=0 switches off what makes an upstream trustworthy.',
      'Unset it; the CA of a private upstream goes into upstream.extraCa.',
    )
  }
  if (/\b(?:http|tls|net|stream|undici)\b/.test(env['NODE_DEBUG'] ?? '')) {
    throw new CoatcheckError('config_invalid', 'NODE_DEBUG would print values to standard error.', 'Unset NODE_DEBUG.')
  }
}
