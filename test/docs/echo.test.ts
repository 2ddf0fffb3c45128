/** docs/limitations.md shows which echoes are masked; the run that makes its tables says the same. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runEcho } from '../../bench/echo-run.ts'
import { formatEcho } from '../../bench/echo-table.ts'

it('the tables of echoes are what a run shows', { timeout: 120_000 }, async () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/limitations.md'), 'utf8')
  const shown = /<!-- npm run echo -->\n([\s\S]*?)\n<!-- end -->/.exec(page)?.[1]
  expect(formatEcho(await runEcho())).toBe(shown)
})
