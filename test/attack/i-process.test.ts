/** What a process gives away of its memory: no inspector is opened by a signal, and where we say how it runs it leaves no core. */
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ServerProcess } from '../support/server-process.ts'
import { until } from '../support/until.ts'

it('I03 SIGUSR1, which makes Node listen for a debugger, opens nothing, and the proxy goes on', async () => {
  const server = await ServerProcess.prepare()
  try {
    await server.start()
    server.signal('SIGUSR1')
    await until(() => server.printed.includes('SIGUSR1 ignored'))
    expect(server.printed).not.toContain('Debugger listening')
    await new Promise<void>((resolve, reject) => {
      net.connect(server.proxyPort, '127.0.0.1').once('connect', resolve).once('error', reject)
    })
  } finally {
    await server.remove()
  }
})

it('I03 the composition that we give forbids core dumps and new privileges', async () => {
  const compose = await readFile(join(import.meta.dirname, '../../deploy/compose.yaml'), 'utf8')
  const [, service = ''] = /^ {2}coatcheck:\n((?: {4}.*\n|\n)+)/m.exec(compose) ?? []
  expect(service).toMatch(/^ {4}ulimits: \{.*\bcore: 0\b/m)
  expect(service).toMatch(/^ {4}security_opt: \["no-new-privileges:true"\]/m)
})
