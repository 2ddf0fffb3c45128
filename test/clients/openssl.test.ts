/** Contract: openssl s_client reads no variable: it works when told the proxy, the credentials and the bundle. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ClientSandbox, describeClient, echo, lacks } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBearerSwapped } from '../support/swapped.ts'

describeClient('openssl s_client', lacks('openssl'), () => {
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

  it('speaks through the tunnel, with -proxy, -proxy_user, -proxy_pass and its default trust', async () => {
    const authority = `api.test:${rig.upstream.port}`
    const request = [
      'GET / HTTP/1.1',
      `Host: ${authority}`,
      `Authorization: Bearer ${sandbox.placeholder}`,
      'Connection: close',
      '\r\n',
    ]
    const finished = await sandbox.run('openssl', sClient(authority), {
      stdin: request.join('\r\n'),
      env: { PROXY_PASSWORD: sandbox.token },
    })
    expectBearerSwapped(rig, sandbox, finished)
    expect(finished.stdout).toMatch(/^HTTP\/1\.1 200 /)
  })

  function sClient(authority: string): string[] {
    const proxy = new URL(sandbox.env['HTTPS_PROXY'] as string)
    const through = ['-proxy', proxy.host, '-proxy_user', sandbox.name, '-proxy_pass', 'env:PROXY_PASSWORD']
    const checked = ['-verify_return_error', '-verify_hostname', 'api.test', '-servername', 'api.test']
    return ['s_client', '-quiet', '-ign_eof', ...through, ...checked, '-connect', authority]
  }
})
