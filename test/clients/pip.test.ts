/** Contract: pip downloads from a private index with a placeholder as its password, and needs nothing beyond a sandbox's environment. */
import { spawnSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ClientSandbox, describeClient, lacks } from '../support/client-sandbox.ts'
import { pythonIndex } from '../support/package-registry.ts'
import { Rig } from '../support/rig.ts'
import { basic, expectBasicSwapped } from '../support/swapped.ts'

function withoutPip(): string | null {
  if (lacks('python3') !== null) return lacks('python3')
  return spawnSync('python3', ['-m', 'pip', '--version']).status === 0 ? null : "this machine's Python has no pip"
}

describeClient('pip', withoutPip(), () => {
  let rig: Rig
  let sandbox: ClientSandbox
  beforeAll(async () => {
    rig = await Rig.start()
    rig.upstream.answerWith(await pythonIndex(basic('user', rig.value)))
    sandbox = await ClientSandbox.create(rig)
  })
  afterAll(async () => {
    await sandbox.remove()
    await rig.stop()
  })

  it('download fetches the wheel, with user:placeholder in the index URL', async () => {
    const index = `${rig.url().replace('//', `//user:${sandbox.placeholder}@`)}/simple/`
    const options = ['--no-deps', '--no-cache-dir', '--disable-pip-version-check', '--retries=0', '--dest=wheels']
    const finished = await sandbox.run('python3', ['-m', 'pip', 'download', ...options, '--index-url', index, 'coats'])
    expectBasicSwapped(rig, finished)
    expect(rig.upstream.last.target).toBe('/files/coats-1.0-py3-none-any.whl')
    expect(await readdir(join(sandbox.home, 'wheels'))).toEqual(['coats-1.0-py3-none-any.whl'])
  })
})
