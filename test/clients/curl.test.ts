/** Contract: curl needs nothing beyond a sandbox's environment: its value arrives, and it never sees it. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ClientSandbox, describeClient, echo, lacks } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBasicSwapped, expectBearerSwapped } from '../support/swapped.ts'

describeClient('curl', lacks('curl'), () => {
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

  const curl = (args: readonly string[], stdin?: string | Buffer) =>
    sandbox.run('curl', ['--silent', '--show-error', '--fail', ...args], stdin === undefined ? {} : { stdin })

  it('sends a header', async () => {
    const finished = await curl(['--header', `Authorization: Bearer ${sandbox.placeholder}`, rig.url()])
    expectBearerSwapped(rig, sandbox, finished)
  })

  it('sends Basic credentials with -u', async () => {
    expectBasicSwapped(rig, await curl(['-u', `user:${sandbox.placeholder}`, rig.url()]))
  })

  it('sends Basic credentials from the URL', async () => {
    const url = rig.url().replace('//', `//user:${sandbox.placeholder}@`)
    expectBasicSwapped(rig, await curl([url]))
  })

  it('posts a body as it was given', async () => {
    const header = `Authorization: Bearer ${sandbox.placeholder}`
    const finished = await curl(['--header', header, '--data-binary', '{"a":"\u00e9"}', `${rig.url()}/things`])
    expectBearerSwapped(rig, sandbox, finished)
    expect(rig.upstream.last).toMatchObject({ method: 'POST', target: '/things' })
    expect(rig.upstream.last.body.toString()).toBe('{"a":"\u00e9"}')
    expect(rig.upstream.last.headers['content-length']).toBe('10')
  })

  it('uploads standard input in chunks', async () => {
    const upload = Buffer.alloc(300_000, 'coat')
    const header = `X-Api-Key: ${sandbox.placeholder}`
    const finished = await curl(['--header', header, '--upload-file', '-', rig.url()], upload)
    expect(finished, finished.stderr).toMatchObject({ code: 0 })
    expect(rig.upstream.last.headers).toMatchObject({ 'x-api-key': rig.value, 'transfer-encoding': 'chunked' })
    expect(rig.upstream.last.body.equals(upload)).toBe(true)
    expect(finished.stdout).toContain(sandbox.placeholder)
  })

  it('prints why a request was refused', async () => {
    const header = `Authorization: Bearer ${sandbox.placeholder}`
    const finished = await sandbox.run('curl', ['--silent', '--header', header, rig.url('evil.test')])
    expect(JSON.parse(finished.stdout)).toMatchObject({ error: { code: 'host_not_allowed' } })
  })
})
