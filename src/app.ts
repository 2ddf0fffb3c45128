/**
 * The composition root: the program as an object with start and close. This file, data-directory.ts and
 * running-proxy.ts are the only ones that see every folder, and the only ones that construct.
 */
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { type LocalApi, localApi } from './api/local.ts'
import { buildApi } from './api/server.ts'
import { CoatcheckError } from './core/errors.ts'
import type { Clock, Log } from './core/ports.ts'
import { Scrubber } from './core/scrub.ts'
import { DataDirectory } from './data-directory.ts'
import { createLogger } from './logger.ts'
import {
  cannotListen,
  type OwnListeners,
  type ProxyListenSetting,
  type RunningProxy,
  startProxy,
} from './running-proxy.ts'
import type { ListenAddress, Settings } from './settings.ts'
import { type BackupReport, restoreBackup } from './vault/backup.ts'

export interface StartOptions {
  readonly settings: Settings
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where the public certificate is exported for people; null = nowhere. */
  readonly exportDir: string | null
  /** False: no audit lines on standard output, which belongs to someone else. */
  readonly ship: boolean
  /** Neither: only `localApi` is there, as for a command that works on the data directory itself. */
  readonly listen: { readonly proxy: boolean; readonly api: boolean }
  readonly clock?: Clock
  readonly logTo?: { write(line: string): void }
}

/** Exchanges under way when asked to stop get this long. */
const DRAIN_MS = 30_000

interface Parts {
  readonly settings: Settings
  readonly data: DataDirectory
  readonly log: Log
  readonly own: OwnListeners
  readonly clock: Clock
}

export class App {
  readonly data: DataDirectory
  readonly log: Log
  readonly #settings: Settings
  #proxy: RunningProxy | null = null
  #api: { readonly address: AddressInfo; close(): Promise<void> } | null = null

  private constructor({ settings, data, log }: Parts) {
    this.#settings = settings
    this.data = data
    this.log = log
  }

  /** Opens the data directory and listens. Throws CoatcheckError, and then nothing is left open. */
  static async start(options: StartOptions): Promise<App> {
    refuseUnsafeEnvironment(options.env)
    const { settings, exportDir, ship, clock = Date.now } = options
    const scrub = new Scrubber()
    const log = createLogger({ level: settings.log.level, scrub, ...(options.logTo && { destination: options.logTo }) })
    const data = await DataDirectory.open({ settings, log, scrub, clock, exportDir, ship })
    const parts: Parts = { settings, data, log, clock, own: [] }
    const app = new App(parts)
    try {
      if (options.listen.proxy) await app.#startProxy(parts)
      if (options.listen.api) await app.#startApi(parts)
      return app
    } catch (error) {
      await app.close(0)
      throw error
    }
  }

  /** `http://127.0.0.1:8080`: where sandboxes reach the proxy, without credentials. */
  get proxyUrl(): string {
    return urlOf(this.#settings.proxy.listen, this.#proxy?.addresses.get('proxy.listen'))
  }

  get apiUrl(): string {
    return urlOf(this.#settings.api.listen, this.#api?.address)
  }

  /** Where that listener of the proxy is; null when the settings ask for none, or it is not open. */
  addressOf(setting: ProxyListenSetting): AddressInfo | null {
    return this.#proxy?.addresses.get(setting) ?? null
  }

  /** Calls made as the owner of the data directory, through the API's own routes and checks. */
  localApi(): LocalApi {
    return localApi(this.data.apiDeps(this.#served()), this.data.tokens.systemPrincipal())
  }

  /** The data directory as one encrypted file, as its owner. */
  async backup(file: string, passphrase: string): Promise<BackupReport> {
    return await this.data.backup(this.data.tokens.systemPrincipal(), file, passphrase)
  }

  /** A new key for the data keys, as its owner. */
  async rotateKeyring(): Promise<{ readonly keyId: string; readonly rewrapped: number }> {
    return await this.data.rotateKeyring(this.data.tokens.systemPrincipal())
  }

  /** Fills the data directory of the settings, which must be absent or empty. Opens nothing. */
  static async restore(settings: Settings, file: string, passphrase: string): Promise<BackupReport> {
    return await restoreBackup({ file, passphrase, dataDir: resolve(settings.dataDir) })
  }

  async close(graceMs = DRAIN_MS): Promise<void> {
    await Promise.all([this.#proxy?.close(graceMs), this.#api?.close()])
    await this.data.close()
  }

  async #startProxy(parts: Parts): Promise<void> {
    this.#proxy = await startProxy(parts)
  }

  async #startApi({ settings, data, own }: Parts): Promise<void> {
    const api = buildApi(data.apiDeps(this.#served()))
    const { host, port } = settings.api.listen
    try {
      await api.listen({ host, port })
    } catch (error) {
      throw cannotListen('api.listen', settings.api.listen, error)
    }
    const address = api.server.address() as AddressInfo
    own.push(address)
    this.#api = { address, close: () => api.close() }
  }

  #served() {
    return {
      proxyUrl: () => this.proxyUrl,
      ready: () => ({ ok: this.data.audit.healthy, checks: { audit: this.data.audit.healthy } }),
      log: this.log,
      allowedHosts: () => ['localhost', '127.0.0.1', '[::1]', this.#settings.api.listen.host],
    }
  }
}

/** An address that clients can use: a wildcard listener is reached over loopback from here. */
function urlOf(listen: ListenAddress, actual: AddressInfo | undefined): string {
  const wildcard = listen.host === '0.0.0.0' || listen.host === '::'
  const host = wildcard ? '127.0.0.1' : listen.host
  return `http://${host.includes(':') ? `[${host}]` : host}:${actual?.port ?? listen.port}`
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
