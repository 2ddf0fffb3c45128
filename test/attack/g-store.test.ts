/** The store fails while tunnels are open: what needs it is refused, nothing is released, and the process stays up. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Rig } from '../support/rig.ts'
import { openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire, type WireMessage } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterAll(async () => {
  await rig.stop()
})

function change(sql: string): void {
  const database = new DatabaseSync(join(rig.dataDir, 'coatcheck.db'))
  database.exec('PRAGMA busy_timeout = 5000')
  database.exec(sql)
  database.close()
}

/** The answer to one more request on an open tunnel; null when the tunnel was closed instead. */
async function askOnce(wire: Wire, request: string): Promise<WireMessage | null> {
  wire.write(request)
  return await wire.message().catch(() => null)
}

describe('G12 a store that fails', () => {
  it('G12 under an open tunnel refuses its next request, and serves it again afterwards', async () => {
    const wire = await openWire(rig)
    const request = `GET / HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\nAuthorization: Bearer ${rig.secret.placeholder}\r\n\r\n`
    wire.write(request)
    expect((await wire.message()).status).toBe(200)
    rig.upstream.clear()
    change('ALTER TABLE sandboxes RENAME TO sandboxes_away; UPDATE revision SET n = n + 1')
    try {
      // The caches are looked at again within a moment, and until then what they say is current.
      const refused = await until(async () => {
        rig.upstream.clear()
        const asked = await askOnce(wire, request)
        return asked === null || asked.status !== 200 ? { asked } : null
      })
      if (refused.asked !== null) {
        const { status, fields } = refused.asked
        expect([status, valuesOf(fields, 'coatcheck-error')]).toEqual([503, ['store_unavailable']])
      }
      expect(rig.upstream.connections).toBe(0)
      // Longer than the tunnels' own look at who still may.
      await new Promise((resume) => setTimeout(resume, 1_200))
    } finally {
      change('ALTER TABLE sandboxes_away RENAME TO sandboxes; UPDATE revision SET n = n + 1')
      wire.socket.destroy()
    }
    const after = await until(() =>
      send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] }).catch(() => null),
    )
    expect(after.status).toBe(200)
  })
})
