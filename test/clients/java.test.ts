/**
 * Contract: the JDK's clients take proxy, exceptions and trust store from JAVA_TOOL_OPTIONS. Where the listener is bound to
 * one sandbox they need nothing else; otherwise the program proves itself, since the JDK reads proxy credentials nowhere.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ClientSandbox, describeClient, echo, type Finished, lacks } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBearerSwapped } from '../support/swapped.ts'

const PROGRAM = join(import.meta.dirname, 'programs', 'Get.java')
const CLIENTS = ['HttpsURLConnection', 'HttpClient'] as const

describeClient('Java', lacks('javac') ?? lacks('java'), () => {
  let rig: Rig
  let sandbox: ClientSandbox
  const java = (client: string, identity: 'proves' | 'bound'): Promise<Finished> =>
    sandbox.run('java', ['-XX:TieredStopAtLevel=1', PROGRAM, client, rig.url(), identity])

  async function start(env: Record<string, string>): Promise<void> {
    rig = await Rig.start({ env })
    rig.upstream.answerWith(echo)
    sandbox = await ClientSandbox.create(rig)
  }
  async function stop(): Promise<void> {
    await sandbox.remove()
    await rig.stop()
  }

  describe('at a listener bound to one sandbox', () => {
    beforeAll(() => start({ COATCHECK_PROXY_IDENTITY: 'sandbox:box' }))
    afterAll(stop)

    it.each(CLIENTS)('%s works with no further setting', async (client) => {
      expectBearerSwapped(rig, sandbox, await java(client, 'bound'))
    })
  })

  describe('at a listener where every sandbox proves itself', () => {
    beforeAll(() => start({}))
    afterAll(stop)

    it.each(CLIENTS)('%s works once the program sends the credentials of HTTPS_PROXY', async (client) => {
      expectBearerSwapped(rig, sandbox, await java(client, 'proves'))
    })

    it('prints JAVA_TOOL_OPTIONS when it starts, and so there is no token in it', async () => {
      const finished = await sandbox.run('java', ['-version'])
      expect(finished.stderr).toContain('Picked up JAVA_TOOL_OPTIONS')
      expect(finished.stderr).not.toContain(sandbox.token)
    })
  })
})
