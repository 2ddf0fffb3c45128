/**
 * Contract: `coatcheck run` is its command with placeholders: same output, exit code and signals, the values at the
 * upstream and nowhere else, and nothing left behind when it is over.
 */
import { readdir, readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { SandboxDocument } from '../../src/api/contract/sandboxes.ts'
import type { PageOf } from '../../src/api/contract.ts'
import { describeClient, lacks } from '../support/client-sandbox.ts'
import { MAIN, RunStation } from '../support/run-station.ts'
import { rawExchange } from '../support/sandbox-client.ts'

const PRINT_ENVIRONMENT = 'console.log(JSON.stringify(process.env))'

/** The command says what it got and ends as told; without a signal it would wait for ever. */
const waitFor = (signal: string, code: number) =>
  `process.on('${signal}', () => { console.log('got ${signal}'); process.exit(${code}) }); console.log('ready'); setInterval(() => {}, 1000)`

describe('coatcheck run', () => {
  let station: RunStation
  beforeAll(async () => {
    station = await RunStation.create()
  })
  beforeEach(() => station.upstream.clear())
  afterAll(() => station.remove())

  const node = (source: string) => station.run(process.execPath, '--input-type=module', '--eval', source)
  const environment = async () => JSON.parse((await node(PRINT_ENVIRONMENT)).stdout) as Record<string, string>

  it('sends the value where the command sent the placeholder', async () => {
    const finished = await node(
      `const answer = await fetch('${station.url}', { headers: { authorization: 'Bearer ' + process.env.API_KEY } })
       console.log(await answer.text())`,
    )
    expect(finished, finished.stderr).toMatchObject({ code: 0, stderr: '' })
    expect(station.upstream.last.headers.authorization).toBe(`Bearer ${station.value}`)
    expect(finished.stdout).toMatch(/Bearer xcoat_/)
  })

  it('mounts a secret whose name is free text', async () => {
    const name = 'Schlüssel für OpenAI: (API)'
    await station.coatcheck(['secret', 'create', name, '--hosts', 'api.test', '--value-stdin'], station.value)
    const print = ['--', process.execPath, '--eval', 'console.log(process.env.NAMED)']
    const finished = await station.coatcheck(['run', '--mount', `NAMED=${name}@api.test`, ...print], '')
    expect(finished).toMatchObject({ code: 0, stderr: '' })
    expect(finished.stdout).toMatch(/^xcoat_/)
  })

  it('ends with the exit code of the command', async () => {
    expect((await station.run('sh', '-c', 'exit 7')).code).toBe(7)
    expect((await station.run('true')).code).toBe(0)
  })

  it('ends with 128 and the signal when one killed the command', async () => {
    expect((await station.run('sh', '-c', 'kill -KILL $$')).code).toBe(128 + constants.signals.SIGKILL)
  })

  it('ends with 127 when there is no such command, and says so', async () => {
    const finished = await station.run('no-such-command-here')
    expect(finished).toMatchObject({ code: 127, stderr: 'coatcheck: no-such-command-here: no such command\n' })
  })

  it.each(['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const)('passes %s on and waits for the command', async (signal) => {
    const run = [MAIN, 'run', '--', process.execPath, '--eval', waitFor(signal, 9)]
    const started = station.start(process.execPath, run)
    await started.printed('ready')
    started.child.kill(signal)
    expect(await started.finished).toMatchObject({ code: 9, stdout: `ready\ngot ${signal}\n` })
  })

  it('gives the command its standard input', async () => {
    const finished = await station.coatcheck(['run', '--', 'cat'], 'hung up\n')
    expect(finished).toMatchObject({ code: 0, stdout: 'hung up\n' })
  })

  it('gives the command placeholders, proxy and trust, and no COATCHECK_ variable', async () => {
    const env = await environment()
    expect(Object.keys(env).filter((name) => name.startsWith('COATCHECK_'))).toEqual([])
    expect(env['API_KEY']).toMatch(/^xcoat_[0-9a-z]{26}$/)
    expect(env['HTTPS_PROXY']).toMatch(/^http:\/\/run-[0-9a-f]+:[^@]+@127\.0\.0\.1:\d+$/)
    expect(await readFile(env['SSL_CERT_FILE'] as string, 'utf8')).toContain('BEGIN CERTIFICATE')
    expect(env['HOME']).toBe(station.folder)
  })

  it('refuses an unknown secret where nobody can be asked, with the command that fixes it', async () => {
    const finished = await station.coatcheck(['run', '--mount', 'KEY=absent@api.test', '--', 'echo', 'started'])
    expect(finished).toMatchObject({ code: 2, stdout: '' })
    expect(finished.stderr).toContain('coatcheck secret create absent --hosts api.test --value-stdin')
  })

  it('names the type of the secret in that command where it has to be a pair', async () => {
    const finished = await station.coatcheck(['run', '--mount', 'AWS=absent@api.test', '--', 'echo', 'started'])
    expect(finished).toMatchObject({ code: 2, stdout: '' })
    expect(finished.stderr).toContain('coatcheck secret create absent --type aws --hosts api.test --value-stdin')
  })

  it('never widens the hosts of a secret', async () => {
    const finished = await station.coatcheck(['run', '--mount', 'KEY=openai@evil.test', '--', 'echo', 'started'])
    expect(finished).toMatchObject({ code: 2, stdout: '' })
    expect(finished.stderr).toContain('may not go to evil.test')
  })

  describeClient('on a terminal', lacks('script'), () => {
    const mount = `${process.execPath} ${MAIN} run --mount KEY=typed@api.test --`
    const terminal = (command: string) => station.start('script', ['-qec', `${mount} ${command}`, '/dev/null'])

    it('asks once for an unknown secret, without echo, stores it, gives the terminal back and runs', async () => {
      const started = terminal('sh -c "stty -a; exit 5"')
      await started.printed('Value of typed')
      started.child.stdin?.write(`${station.value}\r`)
      const finished = await started.finished
      expect(finished.code).toBe(5)
      expect(finished.stdout.includes(station.value), 'the value was echoed').toBe(false)
      expect(finished.stdout.match(/Value of typed/g)).toHaveLength(1)
      expect(finished.stdout).toMatch(/ icanon .* echo /s)
      expect(await terminal('true').finished).toMatchObject({ code: 0, stdout: '' })
    })

    it('asks for an AWS pair where the mount is named so: the id as it is typed, the rest unseen', async () => {
      const show = `sh -c 'echo "$AWS_ACCESS_KEY_ID"'`
      const pair = `exec ${process.execPath} ${MAIN} run --mount AWS=typed-pair@api.test -- ${show}`
      const started = station.start('script', ['-qec', pair, '/dev/null'])
      await started.printed('Access key id of typed-pair: ')
      started.child.stdin?.write('ASIAX\u007fIOSFODNN7EXAMPLE\r')
      await started.printed('Secret access key of typed-pair (stored once, not shown): ')
      started.child.stdin?.write(`${station.value}\r`)
      await started.printed('Session token of typed-pair (stored once, not shown): ')
      started.child.stdin?.write(`token-${station.value}\r`)
      const { code, stdout } = await started.finished
      expect(code, stdout).toBe(0)
      expect(stdout).toContain('Access key id of typed-pair: ASIAX\b \bIOSFODNN7EXAMPLE')
      expect(stdout.includes(station.value), 'the secret was echoed').toBe(false)
      expect(stdout).toMatch(/\nXCOAT[A-Z2-7]{15}\r\n$/)
      const stored = await station.coatcheck(['secret', 'get', 'typed-pair', '--json'])
      expect(JSON.parse(stored.stdout)).toMatchObject({ type: 'aws', hosts: ['api.test'], placements: ['aws-sigv4'] })
    })

    it('leaves Ctrl-C to the command', async () => {
      const run = `exec ${process.execPath} ${MAIN} run -- ${process.execPath} --eval "${waitFor('SIGINT', 3)}"`
      const started = station.start('script', ['-qec', run, '/dev/null'])
      await started.printed('ready')
      started.child.stdin?.write('\u0003')
      const finished = await started.finished
      expect(finished.code).toBe(3)
      expect(finished.stdout).toContain('got SIGINT')
    })
  })

  it('leaves no sandbox, no temporary file and no listener behind, whatever ended it before', async () => {
    const before = await dataFiles()
    const { port } = new URL((await environment())['HTTPS_PROXY'] as string)
    const listed = await station.coatcheck(['sandbox', 'list', '--json'])
    expect((JSON.parse(listed.stdout) as PageOf<SandboxDocument>).items).toEqual([])
    expect(await readdir(station.temporary)).toEqual([])
    expect(await dataFiles()).toEqual(before)
    expect(await rawExchange(Number(port), 'GET / HTTP/1.1\r\n\r\n')).toBe('')
  })

  async function dataFiles(): Promise<string[]> {
    return (await readdir(join(station.folder, 'data'), { recursive: true })).sort()
  }
})
