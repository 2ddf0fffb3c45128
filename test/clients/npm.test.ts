/** Contract: npm installs from a private registry with a placeholder as its token, and needs nothing beyond a sandbox's environment. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ClientSandbox, describeClient, lacks } from '../support/client-sandbox.ts'
import { npmRegistry } from '../support/package-registry.ts'
import { Rig } from '../support/rig.ts'

describeClient('npm', lacks('npm') ?? lacks('tar'), () => {
  let rig: Rig
  let sandbox: ClientSandbox
  beforeAll(async () => {
    rig = await Rig.start()
    rig.upstream.answerWith(await npmRegistry(rig.url(), `Bearer ${rig.value}`))
    sandbox = await ClientSandbox.create(rig)
  })
  afterAll(async () => {
    await sandbox.remove()
    await rig.stop()
  })

  it('install fetches the package and its archive, with _authToken=${API_KEY} in .npmrc', async () => {
    const lines = [`registry=${rig.url()}/`, `${rig.url().replace('https:', '')}/:_authToken=\${API_KEY}`]
    await writeFile(join(sandbox.home, '.npmrc'), `${lines.join('\n')}\n`)
    await writeFile(join(sandbox.home, 'package.json'), '{"name":"workload","version":"1.0.0"}')
    const quiet = ['--no-audit', '--no-fund', '--no-update-notifier']
    const finished = await sandbox.run('npm', ['install', 'coats', ...quiet])
    expect(finished, finished.stderr).toMatchObject({ code: 0 })
    expect(rig.upstream.requests.map(({ target }) => target)).toEqual(['/coats', '/coats/-/coats-1.0.0.tgz'])
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    const installed = await readFile(join(sandbox.home, 'node_modules', 'coats', 'coats.js'), 'utf8')
    expect(installed).toBe('module.exports = 1\n')
  })
})
