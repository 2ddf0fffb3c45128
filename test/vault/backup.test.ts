/** J16: a backup taken under load restores on an empty machine, opens with its own keys, and its audit chain verifies. */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AuditLog } from '../../src/audit/audit-log.ts'
import { verifyAudit } from '../../src/audit/verify.ts'
import { Authority } from '../../src/authority/authority.ts'
import type { Log } from '../../src/core/ports.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { createBackup, restoreBackup } from '../../src/vault/backup.ts'
import { Secrets } from '../../src/vault/secrets.ts'
import { openVault, temporaryDirectory, type Vault } from './open-vault.ts'

const PASSPHRASE = 'correct horse battery staple'
const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} }
let root: string
let vault: Vault
let file: string

beforeEach(async () => {
  root = await temporaryDirectory()
  vault = await openVault({ dir: join(root, 'data') })
  file = join(root, 'coatcheck.backup')
})

afterEach(async () => {
  await vault.close().catch(() => undefined)
  await rm(root, { recursive: true, force: true })
})

const backUp = async () =>
  await createBackup({ database: vault.database, dataDir: vault.dir, passphrase: PASSPHRASE, file, clock: vault.clock })

async function restore(passphrase = PASSPHRASE, from = file) {
  return await restoreBackup({ file: from, passphrase, dataDir: join(root, 'restored') })
}

describe('a backup', () => {
  it('J16 restores everything as of one moment, while others write', async () => {
    const clock = Date.now
    const place = { databaseFile: vault.file, dataDir: vault.dir }
    const audit = await AuditLog.open({ ...place, durability: 'full', sinks: [], clock, log: SILENT })
    const authority = await Authority.open({ dir: vault.dir, exportDir: null, clock })
    const admin = await vault.tokens.ensureAdminToken(vault.dir)
    const policy = { requireHosts: false, defaultPlacements: ['credential-headers'] }
    const secrets = new Secrets({ ...vault, audit, policy })
    const canary = `CNRY-${randomBytes(24).toString('hex')}`
    await secrets.create(vault.owner, { name: 'kept', value: SecretValue.fromText(canary), readPolicy: 'permission' })
    const load = { goesOn: true }
    const writer = (async () => {
      for (let at = 0; load.goesOn; at++) {
        await secrets.create(vault.owner, { name: `load/${at}`, value: SecretValue.fromText(`value number ${at}`) })
      }
    })()
    const { files, bytes } = await backUp()
    load.goesOn = false
    await writer
    await audit.close()
    expect(files).toEqual(expect.arrayContaining(['coatcheck.db', 'keyring.json', 'admin-token']))
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(bytes).toBe((await stat(file)).size)
    expect((await readFile(file)).includes('SQLite format')).toBe(false)
    expect((await readdir(vault.dir)).filter((name) => name.endsWith('.tmp'))).toEqual([])

    await restore()
    const dir = join(root, 'restored')
    const report = await verifyAudit({ databaseFile: join(dir, 'coatcheck.db'), dataDir: dir })
    expect(report).toMatchObject({ ok: true, firstBad: null })
    expect(report.events).toBeGreaterThan(0)
    const restored = await openVault({ dir })
    const revealed = await restored.reveals.reveal(restored.owner, 'kept')
    expect(revealed.value.reveal().toString()).toBe(canary)
    const { items } = await restored.secrets.list(restored.owner, { limit: 200, cursor: null, prefix: 'load/' })
    const last = items.at(-1)
    if (last !== undefined) await restored.secrets.update(restored.owner, last.id, { placements: ['query:key'] })
    expect((await Authority.open({ dir, exportDir: null, clock })).fingerprint).toBe(authority.fingerprint)
    expect(await readFile(join(dir, 'admin-token'))).toEqual(await readFile(admin.path))
    await restored.close()
    for (const name of await readdir(dir)) expect((await stat(join(dir, name))).mode & 0o077).toBe(0)
  })

  it('is not opened by another passphrase, nor when any byte of it was changed, cut, added or moved', async () => {
    await vault.secrets.create(vault.owner, { name: 'key', value: SecretValue.fromText('a value that is long') })
    await backUp()
    await expect(restore('another long passphrase')).rejects.toMatchObject({ code: 'invalid_input' })
    const whole = await readFile(file)
    const start = whole.indexOf(0x0a) + 1
    const sealed = 65_536 + 16
    const changed = (at: number) => {
      const bytes = Buffer.from(whole)
      bytes[at] = (bytes[at] ?? 0) ^ 1
      return bytes
    }
    const swapped = Buffer.concat([
      whole.subarray(0, start),
      whole.subarray(start + sealed, start + 2 * sealed),
      whole.subarray(start, start + sealed),
      whole.subarray(start + 2 * sealed),
    ])
    const damages: Record<string, Buffer> = {
      header: changed(whole.indexOf('createdAt') + 14),
      first: changed(start),
      middle: changed(start + sealed + 5),
      last: changed(whole.length - 1),
      cut: whole.subarray(0, -1),
      'cut at a chunk': whole.subarray(0, start + 2 * sealed),
      'cut to nothing': whole.subarray(0, start),
      added: Buffer.concat([whole, Buffer.from('x')]),
      moved: swapped,
      'not a backup': Buffer.from('not a backup\n'),
      empty: Buffer.alloc(0),
    }
    for (const [name, bytes] of Object.entries(damages)) {
      const copy = join(root, `${name}.backup`)
      await writeFile(copy, bytes)
      await expect(restore(PASSPHRASE, copy), name).rejects.toMatchObject({ code: 'invalid_input' })
    }
    expect((await readdir(root)).filter((name) => name.startsWith('restored'))).toEqual([])
    await restore()
  })

  it('replaces nothing: neither a file that is there nor a directory that holds anything', async () => {
    await backUp()
    await expect(backUp()).rejects.toMatchObject({ code: 'conflict' })
    await mkdir(join(root, 'restored'))
    await writeFile(join(root, 'restored', 'mine'), '')
    await expect(restore()).rejects.toMatchObject({ code: 'conflict' })
    expect(await readdir(join(root, 'restored'))).toEqual(['mine'])
  })

  it('demands a passphrase of some length, and leaves nothing behind without one', async () => {
    const short = createBackup({ ...vault, dataDir: vault.dir, passphrase: 'short', file })
    await expect(short).rejects.toMatchObject({ code: 'invalid_input' })
    expect(await readdir(root)).toEqual(['data'])
  })
})
