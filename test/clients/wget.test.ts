/** Contract: wget (the GnuTLS build reads no trust variable) needs --ca-certificate; the proxy it takes from its environment. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ClientSandbox, describeClient, echo, lacks } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBasicSwapped, expectBearerSwapped } from '../support/swapped.ts'

describeClient('wget', lacks('wget'), () => {
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

  const wget = (args: readonly string[]) =>
    sandbox.run('wget', [
      '--quiet',
      '--output-document=-',
      '--tries=1',
      `--ca-certificate=${sandbox.env['SSL_CERT_FILE']}`,
      ...args,
    ])

  it('sends a header, with --ca-certificate="$SSL_CERT_FILE"', async () => {
    const finished = await wget([`--header=Authorization: Bearer ${sandbox.placeholder}`, rig.url()])
    expectBearerSwapped(rig, sandbox, finished)
  })

  it('sends Basic credentials after it was asked for them', async () => {
    rig.upstream.answerWith((request, response) => {
      if (request.headers.authorization !== undefined) return echo(request, response)
      response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
    })
    const finished = await wget(['--user=user', `--password=${sandbox.placeholder}`, rig.url()])
    expectBasicSwapped(rig, finished)
    expect(rig.upstream.requests.at(-2)?.headers.authorization).toBeUndefined()
  })
})
