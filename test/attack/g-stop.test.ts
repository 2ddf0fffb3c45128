/** Stopping: exchanges under way finish, those that cannot are cut in time, and either way the audit is complete. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openHandles, untilBackTo } from '../support/open-handles.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { openWire } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import type { Wire } from '../support/wire.ts'

const MANY = 40

let rig: Rig
let dir: string
let baseline: number
beforeEach(async () => {
  baseline = openHandles()
  rig = await Rig.start()
  dir = await mkdtemp(join(tmpdir(), 'coatcheck-stop-'))
})
afterEach(async () => {
  await rig.stop()
  await rm(dir, { recursive: true, force: true })
  await untilBackTo(baseline)
})

/** Requests that the upstream has and does not answer until it is told to. */
async function holdMany(count: number): Promise<{ readonly wires: readonly Wire[]; readonly answer: () => void }> {
  const held: (() => void)[] = []
  rig.upstream.answerWith((_request, response) => {
    response.writeHead(200, { 'content-length': 10 })
    response.write('first')
    held.push(() => response.end('-last'))
  })
  const wires = await Promise.all(Array.from({ length: count }, () => openWire(rig)))
  for (const [i, wire] of wires.entries()) {
    const fields = `Host: api.test:${rig.upstream.port}\r\nAuthorization: Bearer ${rig.secret.placeholder}\r\n`
    wire.write(`GET /held/${i} HTTP/1.1\r\n${fields}\r\n`)
  }
  await until(() => held.length === count)
  return { wires, answer: () => held.forEach((each) => each()) }
}

interface Row {
  readonly kind: string
  readonly decision: string | null
  readonly path: string | null
}

/** What a closed database holds: nothing that is still in memory counts. */
function storedEvents(): Row[] {
  const database = new DatabaseSync(join(rig.dataDir, 'coatcheck.db'), { readOnly: true })
  const rows = database.prepare('SELECT * FROM audit_events').all()
  database.close()
  return rows.flatMap((row) => {
    const text = Object.values(row).find((each): each is string => typeof each === 'string' && each.startsWith('{'))
    const event = { ...row, ...(JSON.parse(text ?? '{}') as object) } as unknown as Row
    return (event.path ?? '').startsWith('/held') ? [event] : []
  })
}

describe('G14 close() with exchanges under way', () => {
  it('G14 lets each finish, answers nothing new, and loses no event', async () => {
    const { wires, answer } = await holdMany(MANY)
    const closing = rig.app.close(30_000)
    await until(() =>
      new RawSandbox(rig).dial().then(
        (socket) => (socket.destroy(), false),
        () => true,
      ),
    )
    answer()
    const answers = await Promise.all(wires.map((wire) => wire.message()))
    expect(answers.map((each) => each.body.toString())).toEqual(Array.from({ length: MANY }, () => 'first-last'))
    await closing
    const events = storedEvents()
    expect(events.filter((each) => each.kind === 'release')).toHaveLength(MANY)
    expect(events.filter((each) => each.kind === 'exchange').map((each) => each.decision)).toEqual(
      Array.from({ length: MANY }, () => 'released'),
    )
  })

  it('G14 does not wait for connections on which nothing happens', async () => {
    const idle = await Promise.all(Array.from({ length: 5 }, () => openWire(rig)))
    for (const wire of idle) wire.write(`GET /held/idle HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n\r\n`)
    for (const wire of idle) await wire.message()
    const never = await openWire(rig)
    await rig.app.close(600_000)
    await Promise.all([...idle, never].map((wire) => wire.closed))
  })

  it('G14 cuts what does not finish in time, and records that too', async () => {
    const { wires } = await holdMany(5)
    await rig.app.close(200)
    await Promise.all(wires.map((wire) => wire.closed))
    const events = storedEvents()
    expect(events.filter((each) => each.kind === 'release')).toHaveLength(5)
    expect(events.filter((each) => each.kind === 'exchange').map((each) => each.decision)).toEqual(
      Array.from({ length: 5 }, () => 'failed'),
    )
  })
})
