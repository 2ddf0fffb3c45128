/**
 * One step of `bench/store.ts` in a process of its own, so that memory and start-up are those of a fresh one:
 * `fill`, `start` or `load`, the data directory, the number of secrets, the seconds of each kind of call.
 */
import { statSync } from 'node:fs'
import { App } from '../src/app.ts'
import { loadSettings } from '../src/config.ts'
import { fill, makeHeld } from './store-fill.ts'
import { load } from './store-load.ts'

const MIB = 1024 ** 2

/** As a command that works on the data directory itself: nothing listens, nothing is printed. */
async function open(dataDir: string): Promise<App> {
  const settings = loadSettings({ file: null, env: {}, overrides: { dataDir, 'log.level': 'error' } })
  const listen = { proxy: false, api: false }
  return await App.start({ settings, env: {}, exportDir: null, ship: false, listen })
}

async function filled(dir: string, size: number): Promise<unknown> {
  const app = await open(dir)
  await makeHeld(app, size)
  const { file } = app.data.database
  await app.close()
  const start = performance.now()
  fill(file, size)
  return { secs: (performance.now() - start) / 1_000, fileMiB: statSync(file).size / MIB }
}

async function started(dir: string): Promise<unknown> {
  const start = performance.now()
  const app = await open(dir)
  const figures = { 'start ms': performance.now() - start, residentMiB: process.memoryUsage.rss() / MIB }
  await app.close()
  return figures
}

async function loaded(dir: string, size: number, secs: number): Promise<unknown> {
  const app = await open(dir)
  const groups = await load(app, { size, secs })
  const residentMiB = process.memoryUsage.rss() / MIB
  await app.close()
  return { groups, residentMiB }
}

const [step = '', dir = '', size = '', secs = ''] = process.argv.slice(2)
const steps: Readonly<Record<string, () => Promise<unknown>>> = {
  fill: async () => await filled(dir, Number(size)),
  start: async () => await started(dir),
  load: async () => await loaded(dir, Number(size), Number(secs)),
}
const run = steps[step]
if (run === undefined) throw new Error(`"${step}" is none of ${Object.keys(steps).join(', ')}`)
process.stdout.write(`${JSON.stringify(await run())}\n`)
