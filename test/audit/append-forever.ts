/** A child process for crash tests: eight callers append for ever; each number is written to the file of acks once durable. */
import { openSync, writeSync } from 'node:fs'
import { AuditLog } from '../../src/audit/audit-log.ts'
import { release, silentLog } from './events.ts'

const [dataDir = '', databaseFile = '', acks = '', start = '0'] = process.argv.slice(2)
const log = await AuditLog.open({
  dataDir,
  databaseFile,
  durability: 'full',
  sinks: [],
  clock: Date.now,
  log: silentLog,
  checkpointEvery: { events: 50, ms: 1000 },
})
const file = openSync(acks, 'a')
let next = Number(start)

async function caller(): Promise<void> {
  for (;;) {
    next += 1
    const mine = next
    try {
      await log.append([release({ path: `/${mine}` })])
      writeSync(file, `${mine}\n`)
    } catch {
      writeSync(file, 'refused\n')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

await Promise.all(Array.from({ length: 8 }, caller))
