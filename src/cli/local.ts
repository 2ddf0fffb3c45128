/** The command line on the data directory itself: the API's own routes, in this process, with nothing listening. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { App } from '../app.ts'
import { loadSettings } from '../config.ts'
import { clientEnvironment, LOOPBACK_NO_PROXY } from '../core/client-environment.ts'
import type { BackupDone, CliIo, LocalOptions, LocalTransport, Locations } from './io.ts'

/** Audit lines and the operator's log would mix with what a command prints, so only failures are logged. */
const QUIET = { 'log.level': 'error' } as const

/** Opens the data directory that the settings name, creating it on first use. */
export async function openLocal(options: LocalOptions, io: CliIo): Promise<LocalTransport> {
  const settings = loadSettings({ file: options.config, env: io.env, overrides: QUIET })
  const app = await App.start({
    settings,
    env: io.env,
    exportDir: null,
    ship: false,
    listen: { proxy: false, api: false },
  })
  const api = app.localApi()
  return {
    request: (...given) => api.request(...given),
    backup: (file, passphrase) => app.backup(file, passphrase),
    rotateKeyring: () => app.rotateKeyring(),
    async close() {
      await api.close()
      await app.close()
    },
  }
}

/** Fills the data directory that the settings name, which must be absent or empty. */
export async function restore(options: LocalOptions, io: CliIo, file: string, passphrase: string): Promise<BackupDone> {
  const settings = loadSettings({ file: options.config, env: io.env, overrides: QUIET })
  return await App.restore(settings, file, passphrase)
}

/** Where things are according to the settings; reads nothing but them. */
export async function locate(options: LocalOptions, io: CliIo): Promise<Locations> {
  const settings = loadSettings({ file: options.config, env: io.env })
  const dataDir = resolve(settings.dataDir)
  const trust = join(dataDir, 'trust')
  const caFile = join(trust, 'coatcheck-ca.pem')
  const { host, port } = settings.proxy.listen
  const present = await readFile(caFile).then(
    () => true,
    () => false,
  )
  return {
    dataDir,
    apiUrl: `http://${settings.api.listen.host}:${settings.api.listen.port}`,
    caFile,
    clientEnvironment: clientEnvironment({
      proxyUrl: `http://${host}:${port}`,
      noProxy: LOOPBACK_NO_PROXY,
      ...(present && {
        caFile,
        bundleFile: join(trust, 'bundle.pem'),
        javaTrustStoreFile: join(trust, 'truststore.p12'),
      }),
    }),
  }
}
