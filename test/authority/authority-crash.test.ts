/** Contract: a first start may die, or be failed by the disk, at any step; the next one has a sound authority by itself. */
import { execFileSync } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CERTIFICATE, KEY, openAt, run, temporaryDirectory } from './setting.ts'

const MODULE = new URL('../../src/authority/authority.ts', import.meta.url).href
const START = `const { Authority } = await import(${JSON.stringify(MODULE)})
  await Authority.open({ dir: process.argv[1], clock: Date.now }).catch((error) => {
    process.stdout.write(error.code)
    process.exitCode = 1
  })`

/** strace must be there and be allowed to trace. */
function canInject(): boolean {
  try {
    execFileSync('strace', ['-qq', '-e', 'trace=none', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A start whose n-th call of `call` meets `fault`. One pool thread, so that strace counts them in order. */
function startWith(dir: string, call: string, nth: number, fault: string) {
  const inject = ['-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${call}:${fault}:when=${nth}`]
  const node = [process.execPath, '--no-warnings', '--input-type=module', '-e', START, dir]
  return run('strace', [...inject, ...node], { env: { UV_THREADPOOL_SIZE: '1' } })
}

async function expectSound(dir: string): Promise<void> {
  const files = await readdir(dir).catch((): string[] => [])
  const before = files.includes(KEY) ? await readFile(join(dir, KEY), 'utf8') : undefined
  const { fingerprint } = await openAt(dir, Date.now())
  expect((await openAt(dir, Date.now())).fingerprint).toBe(fingerprint)
  expect((await readdir(dir)).sort()).toEqual([CERTIFICATE, KEY])
  // A key that once had its name is the key for good.
  if (before !== undefined) expect(await readFile(join(dir, KEY), 'utf8')).toBe(before)
}

describe.skipIf(!canInject())('a first start (skipped where strace is missing or may not trace)', () => {
  it.each([
    ['mkdir', 1],
    ['fsync', 1],
    ['fsync', 2],
    ['fsync', 3],
    ['link', 1],
    ['fsync', 4],
    ['link', 2],
    ['unlink', 1],
    ['unlink', 2],
    ['fsync', 5],
  ] as const)('killed at %s %i is made good by the next', async (call, nth) => {
    const dir = join(await temporaryDirectory(), 'data')
    expect((await startWith(dir, call, nth, 'signal=SIGKILL')).code).not.toBe(0)
    await expectSound(dir)
  })

  it.each([
    ['mkdir', 1, 'ENOSPC'],
    ['fsync', 1, 'EIO'],
    ['fsync', 2, 'EIO'],
    ['fsync', 3, 'EIO'],
    ['link', 1, 'EPERM'],
    ['fsync', 4, 'EIO'],
    ['link', 2, 'ENOSPC'],
    ['fsync', 5, 'EIO'],
  ] as const)('failed at %s %i by %s says so, and is made good by the next', async (call, nth, error) => {
    const dir = join(await temporaryDirectory(), 'data')
    expect(await startWith(dir, call, nth, `error=${error}`)).toMatchObject({ code: 1, stdout: 'authority_unusable' })
    await expectSound(dir)
  })
})
