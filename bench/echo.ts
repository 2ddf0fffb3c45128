/** `npm run echo`: which echoes of a released value are masked and which are not, as a run shows it. Writes nothing. */
import { runEcho } from './echo-run.ts'
import { formatEcho } from './echo-table.ts'

process.stdout.write(`${formatEcho(await runEcho())}\n`)
