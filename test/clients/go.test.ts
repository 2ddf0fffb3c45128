/** Contract: Go's net/http needs nothing beyond a sandbox's environment on Linux (on macOS it reads the keychain alone). */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, it } from 'vitest'
import { ClientSandbox, describeClient, echo, lacks } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBearerSwapped } from '../support/swapped.ts'

/** A first build compiles the standard library. */
const COLD_BUILD_MS = 180_000

describeClient('Go net/http', lacks('go'), () => {
  let rig: Rig
  let sandbox: ClientSandbox
  let folder: string
  let program: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'coatcheck-go-'))
    program = join(folder, 'get')
    const source = join(import.meta.dirname, 'programs', 'get.go')
    const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '', GOPROXY: 'off', GOTOOLCHAIN: 'local' }
    await promisify(execFile)('go', ['build', '-o', program, source], { cwd: folder, env })
    rig = await Rig.start()
    rig.upstream.answerWith(echo)
    sandbox = await ClientSandbox.create(rig)
  }, COLD_BUILD_MS)
  afterAll(async () => {
    await sandbox.remove()
    await rig.stop()
    await rm(folder, { recursive: true, force: true })
  })

  it('sends a header with http.DefaultClient', async () => {
    expectBearerSwapped(rig, sandbox, await sandbox.run(program, [rig.url(), 'default']))
  })

  it('sends a header with its own transport, where that has Proxy: http.ProxyFromEnvironment', async () => {
    expectBearerSwapped(rig, sandbox, await sandbox.run(program, [rig.url(), 'transport']))
  })
})
