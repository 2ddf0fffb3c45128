/** Contract: Python's urllib, requests and httpx need nothing beyond a sandbox's environment. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ClientSandbox, describeClient, echo, type Finished, lacks } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBasicSwapped, expectBearerSwapped } from '../support/swapped.ts'

const PROGRAM = join(import.meta.dirname, 'programs', 'get.py')

/** Why the library cannot be used; null when it can. */
function withoutModule(name: string): string | null {
  if (lacks('python3') !== null) return lacks('python3')
  const imported = spawnSync('python3', ['-c', `import ${name}`], { stdio: 'ignore' })
  return imported.status === 0 ? null : `this machine's Python has no ${name}`
}

describe('Python', () => {
  let rig: Rig
  let sandbox: ClientSandbox
  beforeAll(async () => {
    rig = await Rig.start()
    rig.upstream.answerWith(echo)
    sandbox = await ClientSandbox.create(rig)
  })
  afterAll(async () => {
    await sandbox.remove()
    await rig.stop()
  })

  const python = (client: string, how: string): Promise<Finished> =>
    sandbox.run('python3', [PROGRAM, client, rig.url(), how])

  for (const client of ['urllib', 'requests', 'httpx']) {
    describeClient(client, withoutModule(client), () => {
      it('sends a header', async () => expectBearerSwapped(rig, sandbox, await python(client, 'bearer')))

      it('sends Basic credentials', async () => expectBasicSwapped(rig, await python(client, 'basic')))

      it('posts JSON', async () => {
        expectBearerSwapped(rig, sandbox, await python(client, 'post'))
        expect(JSON.parse(rig.upstream.last.body.toString())).toEqual({ a: 1 })
      })
    })
  }
})
