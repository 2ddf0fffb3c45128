/**
 * Fields and targets. What the sandbox sends reaches the upstream in its order, case and number, and the target byte for
 * byte. Four fields are written by the proxy: Host (canonical) and Connection, first; Content-Length and Via, last.
 * Hop-by-hop fields and those that Connection nominates end here, both ways, and so does Proxy-Authorization.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rig } from '../support/rig.ts'
import { headText, openWire, proxyAuthorization, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
})

/** Sends a request and returns its head as the upstream got it, without what the proxy wrote. */
async function arrived(fields: readonly string[], target = '/', added: readonly string[] = []): Promise<string[]> {
  const wire = await openWire(rig)
  wire.write(headText(rig, `GET ${target}`, fields))
  expect((await wire.message()).status).toBe(200)
  wire.socket.destroy()
  const lines = rig.upstream.received.toString('latin1').split('\r\n')
  expect(lines.splice(0, 2)).toEqual([`GET ${target} HTTP/1.1`, `Host: api.test:${rig.upstream.port}`])
  expect(lines.splice(-3 - added.length)).toEqual([
    expect.stringMatching(/^via: 1\.1 coatcheck-[0-9a-f]{8}$/),
    ...added,
    '',
    '',
  ])
  return lines
}

/** Sends a request and returns the answer the upstream wrote as the sandbox got it. */
async function returned(fields: readonly string[], request: readonly string[] = []): Promise<readonly string[]> {
  rig.upstream.takeRaw(async (upstream) => {
    await upstream.head()
    upstream.write(`HTTP/1.1 200 OK\r\n${fields.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`)
  })
  const wire = await openWire(rig)
  wire.write(headText(rig, 'GET /', request))
  const answer = await wire.message()
  wire.socket.destroy()
  expect(answer.status).toBe(200)
  return answer.fields
}

describe('request fields', () => {
  it('arrive with Host where the sandbox put it, under the name that it wrote', async () => {
    const wire = await openWire(rig)
    wire.write(`GET / HTTP/1.1\r\nX-First: 1\r\nhOST: API.test.:${rig.upstream.port}\r\nX-Last: 2\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    const [, ...fields] = rig.upstream.received.toString('latin1').split('\r\n')
    expect(fields.slice(0, 3)).toEqual(['X-First: 1', `hOST: api.test:${rig.upstream.port}`, 'X-Last: 2'])
  })

  it('arrive in order and case, duplicates and empty values included', async () => {
    const fields = ['X-ZULU', '1', 'a-Alpha', '2', 'X-zulu', '3', 'Accept', '*/*', 'X-Empty', '', 'x-ZULU', '1']
    expect(await arrived(fields)).toEqual([
      'X-ZULU: 1',
      'a-Alpha: 2',
      'X-zulu: 3',
      'Accept: */*',
      'X-Empty: ',
      'x-ZULU: 1',
    ])
  })

  it('keep that order around a swapped value', async () => {
    const fields = [
      'X-First',
      '1',
      'aUTHORIZATION',
      `Bearer ${rig.secret.placeholder}`,
      'Cookie',
      'a=1',
      'Cookie',
      'b=2',
    ]
    // Released: the answer must be one that can be masked.
    expect(await arrived(fields, '/', ['accept-encoding: identity'])).toEqual([
      'X-First: 1',
      `aUTHORIZATION: Bearer ${rig.value}`,
      'Cookie: a=1',
      'Cookie: b=2',
    ])
  })

  it('arrive with every byte a value may have', async () => {
    const visible = Array.from({ length: 0x7e - 0x20 }, (_none, i) => String.fromCharCode(0x21 + i)).join('')
    const high = Array.from({ length: 0x80 }, (_none, i) => String.fromCharCode(0x80 + i)).join('')
    expect(await arrived(['X-All', `${visible}\t ${high}`])).toEqual([`X-All: ${visible}\t ${high}`])
  })

  it('arrive with every name a field may have', async () => {
    const names = ["X-!#$%&'*+.^_`|~", '__proto__', 'constructor', 'toString', '1']
    expect(await arrived(names.flatMap((name) => [name, 'v']))).toEqual(names.map((name) => `${name}: v`))
  })

  it('of one hop end here, with those that Connection nominates', async () => {
    const lines = `Connection: keep-alive, X-Private|connection: x-other|X-Private: 1|X-OTHER: 2|Keep-Alive: timeout=5|TE: trailers|
Proxy-Connection: keep-alive|Upgrade: h2c|HTTP2-Settings: AAMAAABk|Proxy-Authenticate: Basic|X-Kept: 3`
    const fields = lines.split(/\|\n?/).flatMap((line) => line.split(': '))
    expect(await arrived(fields)).toEqual(['X-Kept: 3'])
  })

  it.each(['Authorization', 'X-Api-Key', 'Host', 'Cookie', 'Content-Length', 'Via'])(
    'that belong to the request cannot be nominated away: %s',
    async (name) => {
      const answer = await send(rig, { headers: ['Connection', `close, ${name}`, 'X-Api-Key', rig.secret.placeholder] })
      expect([answer.status, answer.error?.code]).toEqual([400, 'bad_request'])
      expect(rig.upstream.connections).toBe(0)
    },
  )

  it('never include Proxy-Authorization, even sent inside the tunnel', async () => {
    expect(await arrived([...proxyAuthorization(rig.sandbox), 'X-Kept', '1'])).toEqual(['X-Kept: 1'])
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/proxy-auth/i)
  })

  it('keep the Via of other proxies before ours', async () => {
    expect(await arrived(['Via', '1.0 fred, 1.1 p.example'])).toEqual(['Via: 1.0 fred, 1.1 p.example'])
  })

  it('with our own Via are a loop', async () => {
    await send(rig)
    const [via] = valuesOf(rig.upstream.last.rawHeaders, 'via')
    const answer = await send(rig, { headers: ['Via', `1.1 other, ${via}`] })
    expect([answer.status, answer.error?.code]).toEqual([508, 'loop_detected'])
    expect(rig.upstream.requests).toHaveLength(1)
  })

  it('beyond the bound are refused', async () => {
    const answer = await send(rig, { headers: ['X-Large', 'x'.repeat(100_000)] })
    expect([answer.status, answer.error?.code]).toEqual([431, 'headers_too_large'])
    expect(rig.upstream.connections).toBe(0)
  })

  it('state the canonical host, however the sandbox spelled it', async () => {
    const wire = await openWire(rig)
    wire.write(`GET / HTTP/1.1\r\nHost: API.Test.:${rig.upstream.port}\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(rig.upstream.last.headers.host).toBe(`api.test:${rig.upstream.port}`)
  })
})

describe('a target', () => {
  it.each(
    "/a%2Fb /a%2fb%2E%2e // //host//x /a;b=c;d /. /../a/./b /a? /? /??a=b?c /a?&&==& /% /%zz /a+b?c+d /* /a:b@c /$&$1 /'()!"
      .split(' ')
      .concat('/~user', '/http://x/', '/[::1]', '/{x}|^`"<>\\'),
  )('arrives byte for byte: %s', async (target) => {
    expect(await arrived([], target)).toEqual([])
  })

  it('of 5000 characters arrives', async () => {
    expect(await arrived([], `/${'long/'.repeat(1000)}`)).toEqual([])
  })

  it('arrives byte for byte with every byte a target may have', async () => {
    for (let code = 0x21; code <= 0x7e; code += 1) {
      if (code === 0x23) continue
      const target = `/a${String.fromCharCode(code)}b?c${String.fromCharCode(code)}d`
      rig.upstream.chunks.length = 0
      expect(await arrived([], target)).toEqual([])
    }
  })
})

describe('response fields', () => {
  const release = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

  it('come back in order and case, duplicates included, and nothing is added', async () => {
    const fields = [
      'Set-Cookie: a=1; Path=/',
      'X-ZULU: 1',
      'set-cookie: b=2',
      'a-alpha: 2',
      'x-zulu: ',
      'SET-COOKIE: a=1',
    ]
    const expected = [
      'Set-Cookie',
      'a=1; Path=/',
      'X-ZULU',
      '1',
      'set-cookie',
      'b=2',
      'a-alpha',
      '2',
      'x-zulu',
      '',
      'SET-COOKIE',
      'a=1',
    ]
    for (const request of [[], release()]) {
      rig.upstream.clear()
      expect(await returned(fields, request)).toEqual([
        ...expected,
        'Content-Length',
        '0',
        'Connection',
        'keep-alive',
        'Keep-Alive',
        'timeout=300',
      ])
    }
  })

  it('of one hop end here, with those that Connection nominates, and Alt-Svc', async () => {
    const hop = `Connection: keep-alive, X-Private|X-Private: 1|Keep-Alive: timeout=77|Proxy-Authenticate: Basic realm=x|
Upgrade: h2c|Alt-Svc: h2="evil.test:443"|Proxy-Connection: x|X-Kept: 1`
    const fields = await returned(hop.split(/\|\n?/))
    expect(fields.filter((_value, i) => i % 2 === 0)).toEqual(['X-Kept', 'Content-Length', 'Connection', 'Keep-Alive'])
    expect(fields.join()).not.toContain('77')
  })

  it('keep the reason phrase', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.write('HTTP/1.1 299 Quite All Right\r\nContent-Length: 0\r\n\r\n')
    })
    expect(await send(rig)).toMatchObject({ status: 299, reason: 'Quite All Right' })
  })
})
