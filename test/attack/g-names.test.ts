/** Name servers that never answer stall those who ask them, and nobody else. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { bare, finish, lacks } from '../support/client-sandbox.ts'

const STATION = join(import.meta.dirname, '../support/dead-names-station.ts')
const NAMESPACE = ['--net', '--mount', 'sh', '-c']

/** Why this machine cannot be given another name server for one process; null when it can. */
function forbids(): string | null {
  const attempt = 'ip link set lo up && mount --bind /dev/null /etc/resolv.conf'
  const { status } = spawnSync('unshare', [...NAMESPACE, attempt], { stdio: 'ignore' })
  return status === 0 ? null : 'namespaces with a name server of their own are not permitted here'
}

const missing = lacks('unshare') ?? lacks('ip') ?? lacks('mount') ?? forbids()
const named = missing === null ? '' : ` (skipped: ${missing})`

it.skipIf(missing !== null)(
  `G07 300 names at a name server that never answers leave every exchange of another sandbox as it is${named}`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'coatcheck-names-'))
    try {
      await writeFile(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n')
      const script = `set -e
        ip link set lo up
        mount --bind ${join(folder, 'resolv.conf')} /etc/resolv.conf
        exec ${process.execPath} ${STATION}`
      const child = spawn('unshare', [...NAMESPACE, script], { env: { ...bare(folder), TMPDIR: folder } })
      const { stdout, stderr } = await finish(child)
      expect(stdout, stderr).toMatch(/^\{.*\}\n$/)
      expect(JSON.parse(stdout)).toEqual({ done: 50, doneLater: 50, stillWaiting: true, values: 100, statuses: [502] })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
  60_000,
)
