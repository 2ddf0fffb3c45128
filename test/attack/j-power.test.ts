/**
 * A power cut: of what was written, the disk has what was synced. Every write to the log is traced while eight callers append;
 * then the disk is put together as it would have been after a cut, again and again, and opened.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, it } from 'vitest'
import { newPlace, type Place, rows } from '../audit/setting.ts'
import { callsIn, DiskFile, TRACED } from '../support/power-cut.ts'
import { until } from '../support/until.ts'

const PROGRAM = join(import.meta.dirname, '../audit/append-forever.ts')
/** Enough for the log to be copied into the database and begun anew. */
const ACKNOWLEDGED = 2_500
const CUTS = 40

const FATES = [
  { what: 'nothing that was not synced', survives: () => false },
  { what: 'some of what was not synced', survives: () => Math.random() < 0.5 },
]

function lacksTracing(): string | null {
  try {
    execFileSync('strace', ['-qq', '-o', '/dev/null', 'true'], { stdio: 'ignore' })
    return null
  } catch {
    return 'needs strace and the right to trace'
  }
}

/** Appends under strace until enough was acknowledged, and ends it. */
async function traced(place: Place, trace: string): Promise<void> {
  const acks = join(place.dataDir, 'acks')
  const options = ['-f', '-qq', '-y', '-xx', '-s', '1000000', '-e', `trace=${TRACED}`, '-o', trace]
  const program = [process.execPath, PROGRAM, place.dataDir, place.databaseFile, acks, '0']
  const child: ChildProcess = spawn('strace', [...options, ...program], { detached: true, stdio: 'ignore' })
  const gone = once(child, 'exit')
  await until(() => existsSync(acks) && readFileSync(acks, 'latin1').split('\n').length > ACKNOWLEDGED)
  process.kill(-(child.pid as number), 'SIGKILL')
  await gone
}

const reason = lacksTracing()
const named = reason === null ? '' : ` (skipped: ${reason})`
it.skipIf(reason !== null)(
  `J03 ${CUTS} power cuts lose no event that was acknowledged${named}`,
  async () => {
    const place = newPlace()
    const files = new Map([
      ['coatcheck.db', new DiskFile(readFileSync(place.databaseFile))],
      ['coatcheck.db-wal', new DiskFile()],
    ])
    const trace = join(newPlace().dataDir, 'trace')
    await traced(place, trace)
    const calls = callsIn(trace)
    const writes = calls.filter(({ kind, file }) => kind === 'write' && basename(file) === 'coatcheck.db')
    expect(writes.length, 'the log was never copied into the database').toBeGreaterThan(0)
    const cuts = new Set(Array.from({ length: CUTS }, () => randomInt(calls.length)))
    let acknowledged: string[] = []
    for (const [n, call] of calls.entries()) {
      files.get(basename(call.file))?.take(call)
      if (call.kind === 'write' && basename(call.file) === 'acks') {
        acknowledged = [...acknowledged, ...call.bytes.toString('latin1').trim().split('\n')]
      }
      if (!cuts.has(n)) continue
      for (const { what, survives } of FATES) {
        const disk = newPlace()
        for (const [name, file] of files) writeFileSync(join(disk.dataDir, name), file.afterCut(survives))
        expect(rows(disk, 'PRAGMA integrity_check'), `call ${n}, ${what}`).toEqual([{ integrity_check: 'ok' }])
        const stored = new Set(
          rows(disk, "SELECT json_extract(body, '$.path') AS path FROM audit_events").map(({ path }) => path),
        )
        expect(
          acknowledged.filter((each) => !stored.has(`/${each}`)),
          `call ${n}, ${what}`,
        ).toEqual([])
      }
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(ACKNOWLEDGED - 1)
  },
  120_000,
)
