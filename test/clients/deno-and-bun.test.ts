/** Contract: fetch of Deno and of Bun needs nothing beyond a sandbox's environment. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, it } from 'vitest'
import { ClientSandbox, describeClient, echo, lacks } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBearerSwapped } from '../support/swapped.ts'

const PROGRAM = `
const answer = await fetch(process.env.URL, { headers: { authorization: 'Bearer ' + process.env.API_KEY } })
console.log(await answer.text())
`

describeClient('Deno', lacks('deno'), () => sendsAHeader('deno', ['run', '--quiet', '--allow-net', '--allow-env']))

describeClient('Bun', lacks('bun'), () => sendsAHeader('bun', ['run']))

function sendsAHeader(program: string, args: readonly string[]): void {
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

  it('fetch sends a header', async () => {
    const file = join(sandbox.home, 'get.mjs')
    await writeFile(file, program === 'deno' ? `import process from 'node:process'\n${PROGRAM}` : PROGRAM)
    expectBearerSwapped(rig, sandbox, await sandbox.run(program, [...args, file], { env: { URL: rig.url() } }))
  })
}
