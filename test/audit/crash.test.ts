/** Contract: an event whose append resolved survives kill -9 at any moment, and what is left verifies. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { verifyAudit } from '../../src/audit/verify.ts'
import { newPlace, type Place, rows } from './setting.ts'

const SCRIPT = join(import.meta.dirname, 'append-forever.ts')

function start(place: Place, from: number, under: readonly string[] = []): ChildProcess {
  const command = [...under, process.execPath, SCRIPT]
  const child = spawn(
    command[0] as string,
    [...command.slice(1), place.dataDir, place.databaseFile, acksOf(place), String(from)],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    },
  )
  onTestFinished(() => void kill(child))
  return child
}

/** The whole group: under strace the process is a grandchild. */
async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const gone = once(child, 'exit')
  process.kill(-child.pid, 'SIGKILL')
  await gone
}

const acksOf = (place: Place): string => join(place.dataDir, 'acks')

function linesOf(place: Place): string[] {
  return existsSync(acksOf(place)) ? readFileSync(acksOf(place), 'utf8').split('\n').slice(0, -1) : []
}

function missing(place: Place): string[] {
  const stored = new Set(rows(place, 'SELECT body FROM audit_events').map(pathOf))
  return linesOf(place).filter((line) => line !== 'refused' && !stored.has(`/${line}`))
}

function pathOf({ body }: Record<string, unknown>): string {
  return (JSON.parse(String(body)) as { path: string }).path
}

test('J01 twenty kills at arbitrary moments lose no acknowledged event', { timeout: 120_000 }, async () => {
  const place = newPlace()
  for (let round = 1; round <= 20; round += 1) {
    const before = linesOf(place).length
    const child = start(place, round * 1_000_000)
    await vi.waitFor(() => expect(linesOf(place).length).toBeGreaterThan(before + round), {
      timeout: 20_000,
      interval: 5,
    })
    await kill(child)
    expect(missing(place)).toEqual([])
  }
  const report = await verifyAudit(place)
  expect(report).toMatchObject({ ok: true, writers: 20 })
  expect(report.events).toBeGreaterThanOrEqual(linesOf(place).length)
})

/** The n-th such call of a thread fails once; the writer thread is the one that makes so many. */
const failures = [
  { what: 'J05 a failed fsync', call: 'fsync,fdatasync', error: 'EIO', nth: 40, writers: 2 },
  { what: 'J06 a write that fails with an I/O error', call: 'pwrite64', error: 'EIO', nth: 90, writers: 2 },
  { what: 'J06 a write that finds the disk full', call: 'pwrite64', error: 'ENOSPC', nth: 90, writers: 1 },
  {
    what: 'J06 another such write, elsewhere in a transaction',
    call: 'pwrite64',
    error: 'ENOSPC',
    nth: 91,
    writers: 1,
  },
]

for (const { what, call, error, nth, writers } of failures) {
  test(`${what} refuses, loses nothing acknowledged, and ${writers === 1 ? 'the' : 'a new'} chain goes on`, async (context) => {
    context.skip(!canTrace(), 'needs strace and the right to trace')
    const place = newPlace()
    const inject = [
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      `trace=${call}`,
      '-e',
      `inject=${call}:error=${error}:when=${nth}`,
    ]
    const child = start(place, 0, ['strace', ...inject])
    const goesOn = (): void => {
      const lines = linesOf(place)
      const refused = lines.indexOf('refused')
      expect(refused).toBeGreaterThan(0)
      expect(lines.slice(refused).filter((line) => line !== 'refused').length).toBeGreaterThan(5)
    }
    await vi.waitFor(goesOn, { timeout: 25_000, interval: 20 })
    await kill(child)
    expect(missing(place)).toEqual([])
    expect(await verifyAudit(place)).toMatchObject({ ok: true, writers })
  })
}

function canTrace(): boolean {
  try {
    execFileSync('strace', ['-qq', '-o', '/dev/null', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
