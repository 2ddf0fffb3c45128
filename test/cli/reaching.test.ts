/** Contract: exit 4 when no coatcheck server answers, 3 when it refuses by policy, and the reason in one sentence. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { CliUnderTest } from './support/cli-under-test.ts'

const servers: Server[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

async function serverThatSays(status: number, headers: Record<string, string>, body: string): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status, headers).end(body))
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const list = (url: string, token = 'token') =>
  CliUnderTest.local().cli(['secret', 'list'], { env: { COATCHECK_URL: url, COATCHECK_TOKEN: token } })

describe('a server', () => {
  it('that does not answer is exit 4', async () => {
    const { code, stderr, stdout } = await list('http://127.0.0.1:1')
    expect([code, stdout]).toEqual([4, ''])
    expect(stderr).toContain('error: Cannot reach the coatcheck server at http://127.0.0.1:1.')
    expect(stderr).toContain('coatcheck serve')
  })

  it('that is another program is exit 4, and its text is not printed', async () => {
    for (const status of [200, 502]) {
      const { code, stderr } = await list(await serverThatSays(status, {}, '<html>strange page</html>'))
      expect(code).toBe(4)
      expect(stderr).toContain('not a coatcheck server')
      expect(stderr).not.toContain('strange page')
    }
  })

  it('that redirects is not followed', async () => {
    const away = await serverThatSays(302, { location: 'http://127.0.0.1:1/' }, '')
    const { code, stderr } = await list(away)
    expect(code).toBe(4)
    expect(stderr).toContain('not a coatcheck server')
  })

  it('that refuses by policy is exit 3', async () => {
    const error = { code: 'forbidden', message: 'This may not be done.', hint: 'Ask.', requestId: 'r1' }
    const { code, stderr } = await list(await serverThatSays(403, {}, JSON.stringify({ error })))
    expect(code).toBe(3)
    expect(stderr).toBe('error: This may not be done.\n  fix: Ask.\n  request: r1\n')
  })

  it('that does not know the token is exit 1, and the token is not printed', async () => {
    const cli = await CliUnderTest.overHttp()
    const { code, stderr } = await cli.cli(['secret', 'list'], { env: { COATCHECK_TOKEN: 'wrong-token-canary' } })
    expect(code).toBe(1)
    expect(stderr).toContain('error: The token is not valid.')
    expect(stderr).not.toContain('wrong-token-canary')
    await cli.stop()
  })
})

describe('COATCHECK_URL', () => {
  it('without a token is exit 2', async () => {
    const { code, stderr } = await list('http://127.0.0.1:1', '')
    expect(code).toBe(2)
    expect(stderr).toContain('COATCHECK_TOKEN is not')
  })

  it('that is no address is exit 2, and is not repeated', async () => {
    for (const url of ['127.0.0.1:8081', 'ftp://secret-in-url@x', 'nonsense']) {
      const { code, stderr } = await list(url)
      expect(code).toBe(2)
      expect(stderr).not.toContain('secret-in-url')
    }
  })

  it('with credentials in it does not print them', async () => {
    const { code, stderr } = await list('http://user:secret-in-url@127.0.0.1:1')
    expect(code).toBe(4)
    expect(stderr).not.toContain('secret-in-url')
  })
})

describe('a failure of the data directory', () => {
  it('keeps code, message and hint', async () => {
    const { code, stderr } = await CliUnderTest.local().cli(['secret', 'list'], {
      openFailure: Object.assign(new Error('The keyring cannot be read.'), {
        code: 'keyring_unusable',
        hint: 'Restore it.',
      }),
    })
    expect([code, stderr]).toEqual([1, 'error: The keyring cannot be read.\n  fix: Restore it.\n'])
  })

  it('that nobody foresaw shows nothing of itself', async () => {
    const { code, stderr } = await CliUnderTest.local().cli(['secret', 'list'], {
      openFailure: new Error('secret detail'),
    })
    expect(code).toBe(1)
    expect(stderr).not.toContain('secret detail')
  })
})
