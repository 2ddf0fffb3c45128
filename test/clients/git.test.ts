/**
 * Contract: git clones and pushes over HTTPS with Basic credentials and needs nothing beyond a sandbox's environment:
 * the server checks the real password, which is neither in the clone nor in anything git printed.
 */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ClientSandbox, describeClient, lacks } from '../support/client-sandbox.ts'
import { AUTHOR, GitUpstream } from '../support/git-upstream.ts'
import { Rig } from '../support/rig.ts'
import { basic, expectBasicSwapped } from '../support/swapped.ts'

describeClient('git', lacks('git'), () => {
  let rig: Rig
  let sandbox: ClientSandbox
  let upstream: GitUpstream
  beforeAll(async () => {
    rig = await Rig.start()
    upstream = await GitUpstream.create(basic('user', rig.value))
    rig.upstream.answerWith(upstream.answer)
    sandbox = await ClientSandbox.create(rig)
  })
  afterAll(async () => {
    await sandbox.remove()
    await upstream.remove()
    await rig.stop()
  })

  const git = (...args: readonly string[]) =>
    sandbox.run('git', [...AUTHOR, ...args], { env: { GIT_TERMINAL_PROMPT: '0' } })
  const repository = (user = '') => `${rig.url().replace('//', `//${user}`)}/coats.git`

  it('clones with the placeholder in the URL', async () => {
    expectBasicSwapped(rig, await git('clone', repository(`user:${sandbox.placeholder}@`), 'by-url'))
    const log = await git('-C', 'by-url', 'log', '--format=%s')
    expect(log.stdout).toBe('Open the coat check\n')
  })

  it('clones with the placeholder from a credential helper', async () => {
    const helper = '!f() { echo username=user; echo "password=$API_KEY"; }; f'
    expectBasicSwapped(rig, await git('-c', `credential.helper=${helper}`, 'clone', repository(), 'by-helper'))
  })

  it('clones with the placeholder in an extra header that holds base64, as CI runners write it', async () => {
    const header = `http.extraHeader=Authorization: ${basic('user', sandbox.placeholder)}`
    expectBasicSwapped(rig, await git('-c', header, 'clone', repository(), 'by-header'))
  })

  it('pushes, also what is larger than its buffer and so goes in chunks', async () => {
    expectBasicSwapped(rig, await git('clone', repository(`user:${sandbox.placeholder}@`), 'pushing'))
    const large = randomBytes(200_000)
    await writeFile(join(sandbox.home, 'pushing', 'large'), large)
    await git('-C', 'pushing', 'add', 'large')
    await git('-C', 'pushing', 'commit', '--quiet', '-m', 'Hang up a large coat')
    expectBasicSwapped(rig, await git('-C', 'pushing', '-c', 'http.postBuffer=65536', 'push', 'origin', 'HEAD:main'))
    expect(rig.upstream.requests.some(({ headers }) => headers['transfer-encoding'] === 'chunked')).toBe(true)
    expect(await upstream.git(['-C', 'coats.git', 'log', '-1', '--format=%s', 'main'])).toBe('Hang up a large coat\n')
    const stored = await upstream.git(['-C', 'coats.git', 'cat-file', '-s', 'main:large'])
    expect(Number(stored)).toBe(large.length)
  })

  it('fails without the placeholder, as it would with a wrong password', async () => {
    const finished = await git('clone', repository('user:wrong@'), 'wrong')
    expect(finished.code).not.toBe(0)
    expect(finished.stderr).toContain('Authentication failed')
  })
})
