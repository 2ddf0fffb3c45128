/**
 * Values, names and targets that try to become structure: a line break in a value, a dot segment, `__proto__`. What
 * cannot be written faithfully is refused; everything else arrives byte for byte.
 */
import http from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Secret } from '../../src/core/secret.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent, outcome } from '../support/audited.ts'
import { canary, leaksIn } from '../support/leak-check.ts'
import { Rig, type RigSandbox } from '../support/rig.ts'
import { openTls, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const host = () => `Host: api.test:${rig.upstream.port}`

let made = 0
async function secretOf(value: string | Buffer, placements: readonly string[]): Promise<[Secret, RigSandbox]> {
  const name = `made-${made++}`
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name,
    value: new SecretValue(Buffer.from(value as string)),
    hosts: ['api.test'],
    placements,
  })
  return [secret, await rig.sandboxWith(`${name}-box`, { KEY: name })]
}

const UNSAFE: readonly (readonly [string, string])[] = [
  ['CR LF and a field', 'x\r\nHost: evil.test'],
  ['CR LF and a request', 'x\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n'],
  ['a line feed', 'x\nHost: evil.test'],
  ['a carriage return', 'x\rHost: evil.test'],
  ['a line feed at the end', 'v4lue\n'],
  ['NUL', 'x\0y'],
  ['DEL', 'x\x7fy'],
  ['a vertical tab', 'x\x0by'],
  ['an escape', 'x\x1b[31m'],
  ['Latin-1 text', 'é'],
  ['other text', '日本'],
  ['a blank in front', ' v4lue'],
  ['a tab at the end', 'v4lue\t'],
]

describe('D10 a value that could add structure', () => {
  it.each(UNSAFE)('D10 with %s is refused at creation for a header', async (_name, value) => {
    const creating = secretOf(value, ['credential-headers'])
    await expect(creating).rejects.toMatchObject({ code: 'invalid_input' })
    await expect(creating.catch((error: Error) => error.message)).resolves.not.toContain(value)
  })

  it.each(UNSAFE)('D10 with %s is percent-encoded in a query and a path', async (_name, value) => {
    const [secret, sandbox] = await secretOf(value, ['query:key', 'path'])
    for (const path of [`/a/${secret.placeholder}/b?c=d`, `/a?key=${secret.placeholder}&c=d`]) {
      expect((await send(rig, { path, sandbox })).status).toBe(200)
    }
    const written = [...Buffer.from(value)]
      .map((byte) => (/[A-Za-z0-9._~-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : escaped(byte)))
      .join('')
    expect(rig.upstream.requests.map((each) => each.target)).toEqual([`/a/${written}/b?c=d`, `/a?key=${written}&c=d`])
    expect(rig.upstream.received.toString('latin1').split('\r\n\r\n')).toHaveLength(3)
  })

  it.each(UNSAFE.filter(([, value]) => /[^\x20-\xff]|\x7f/.test(value)))(
    'D10 with %s is not written into Basic credentials',
    async (_name, value) => {
      const [secret, sandbox] = await secretOf(value, ['basic'])
      const credentials = Buffer.from(`user:${secret.placeholder}`).toString('base64')
      const answer = await send(rig, { headers: ['Authorization', `Basic ${credentials}`], sandbox })
      if (answer.status === 200) {
        const [, sent = ''] = rig.upstream.last.headers.authorization?.split(' ') ?? []
        expect(Buffer.from(sent, 'base64').toString('utf8')).toBe(`user:${value}`)
      } else {
        expect([answer.status, answer.error?.code]).toEqual([403, 'value_not_placeable'])
        expect(rig.upstream.connections).toBe(0)
      }
    },
  )

  it('D10 a stored value is checked again at use, after placements changed', async () => {
    const [secret, sandbox] = await secretOf('x\r\nHost: evil.test', ['query:key'])
    const change = rig.app.data.secrets.update(rig.principal, secret.id, { placements: ['credential-headers'] })
    const changed = await change.then(() => true).catch(() => false)
    const answer = await send(rig, { headers: ['X-Api-Key', secret.placeholder], sandbox })
    expect(answer.status).toBe(403)
    expect(answer.error?.code).toBe(changed ? 'value_not_placeable' : 'placement_not_allowed')
    expect(rig.upstream.received.toString('latin1')).not.toContain('evil.test')
  })
})

function escaped(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
}

describe('D11 the target after substitution', () => {
  it('D11 is checked whole: a byte outside visible ASCII is refused next to a value', async () => {
    const [secret, sandbox] = await secretOf('plain-value', ['query:key'])
    const wire = await openWire(rig, { sandbox })
    wire.write(`GET /caf\xe9?key=${secret.placeholder} HTTP/1.1\r\n${host()}\r\n\r\n`)
    const answer = await wire.message()
    expect(answer.status).toBe(400)
    expect(rig.upstream.received.toString('latin1')).not.toContain('plain-value')
    wire.socket.destroy()
  })

  it('D11 a value of dots cannot make a dot segment', async () => {
    const [secret, sandbox] = await secretOf('..', ['path'])
    const answer = await send(rig, { path: `/v1/${secret.placeholder}/admin`, sandbox })
    expect([answer.status, answer.error?.code]).toEqual([403, 'value_not_placeable'])
    expect(rig.upstream.connections).toBe(0)
  })
})

describe('D13 the middleware for WebSockets', () => {
  const HANDSHAKE = ['Connection', 'Upgrade', 'Upgrade', 'websocket', 'Sec-WebSocket-Version', '13']
  const handshake = (path: string) => [...HANDSHAKE, 'Sec-WebSocket-Key', 'AAAAAAAAAAAAAAAAAAAAAA==', 'X-Path', path]

  it('D13 shows no error page of its own: neither the URL nor the value comes back', async () => {
    const value = canary('d13')
    const [secret, sandbox] = await secretOf(value, ['query:key'])
    rig.upstream.takeRaw((wire) => void wire.socket.destroy())
    const answer = await send(rig, {
      path: `/socket?key=${secret.placeholder}`,
      headers: handshake('/socket'),
      sandbox,
    })
    expect([answer.status, answer.error?.code]).toEqual([502, 'upstream_failed'])
    expect(answer.body.toString()).not.toMatch(/api\.test|socket|key=/)
    expect(leaksIn(Buffer.concat(rig.seen), value)).toEqual([])
    expect(await outcome(rig, { requestId: answer.error?.requestId ?? '' })).toMatchObject({ decision: 'failed' })
  })

  it('D13 a Host that only contains an allowed name is not routed by it', async () => {
    const wire = await openWire(rig)
    const fields = handshake('/').map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`))
    wire.write(`GET / HTTP/1.1\r\nHost: api.test.evil.test\r\n${fields.join('')}\r\n`)
    expect((await wire.message()).status).toBe(421)
    wire.socket.destroy()
    expect(rig.upstream.connections).toBe(0)
  })
})

describe('D15 framing around a substitution', () => {
  it('D15 a length stays a length, and is that of the body that arrives', async () => {
    const body = `${rig.secret.placeholder} and `.repeat(50)
    const answer = await send(rig, {
      method: 'POST',
      path: '/d15',
      headers: ['Authorization', `Bearer ${rig.secret.placeholder}`],
      body,
    })
    expect(answer.status).toBe(200)
    const { headers, body: arrived } = rig.upstream.last
    expect(arrived.toString()).toBe(body)
    expect(headers['content-length']).toBe(String(arrived.length))
    expect(headers['transfer-encoding']).toBeUndefined()
    expect(await closingEvent(rig, { path: '/d15' })).toMatchObject({ decision: 'released', reported: 50 })
  })

  it('D15 chunks stay chunks', async () => {
    const wire = await openWire(rig)
    const fields = `Authorization: Bearer ${rig.secret.placeholder}\r\nTransfer-Encoding: chunked\r\n`
    wire.write(`POST /d15c HTTP/1.1\r\n${host()}\r\n${fields}\r\n5\r\nhello\r\n0\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.last.headers['transfer-encoding']).toBe('chunked')
    expect(rig.upstream.last.headers['content-length']).toBeUndefined()
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    wire.socket.destroy()
  })
})

describe('D18 the path', () => {
  it.each([
    '/v1/../admin',
    '/%2e%2e/x',
    '//x',
    '/a;x=1',
    '/a%2Fb',
    '/a%2fb',
    '/.',
    '/a/./b',
    '/?',
    '/a?b?c',
    '/%',
    '/%zz',
    '/a|b',
    '/a"b',
    "/a'b",
    '/{}',
    '/~a',
  ])('D18 %s is forwarded byte for byte', async (path) => {
    const wire = await openWire(rig)
    wire.write(`GET ${path} HTTP/1.1\r\n${host()}\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    expect(rig.upstream.received.toString('latin1').split(' ')[1]).toBe(path)
    wire.socket.destroy()
  })
})

describe('D19 names of objects', () => {
  const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__']

  it('D19 are header names like any other, there and back', async () => {
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(
        200,
        NAMES.flatMap((name) => [name, 'back']),
      )
      response.end('ok')
    })
    const wire = await openWire(rig)
    const fields = [...NAMES.map((name) => `${name}: there\r\n`), `__proto__: twice\r\n`].join('')
    wire.write(`GET /d19 HTTP/1.1\r\n${host()}\r\n${fields}Authorization: Bearer ${rig.secret.placeholder}\r\n\r\n`)
    const answer = await wire.message()
    expect(answer.status).toBe(200)
    const received = rig.upstream.received.toString('latin1')
    for (const name of NAMES) {
      expect(received).toContain(`\r\n${name}: there\r\n`)
      expect(valuesOf(answer.fields, name.toLowerCase())).toEqual(['back'])
    }
    expect(received).toContain('\r\n__proto__: twice\r\n')
    expect(({} as Record<string, unknown>)['there']).toBeUndefined()
    wire.socket.destroy()
  })

  it('D19 survive a WebSocket handshake', async () => {
    const socket = await openTls(rig, 'api.test')
    const headers = ['Host', `api.test:${rig.upstream.port}`, 'Connection', 'Upgrade', 'Upgrade', 'websocket']
    const rest = ['Sec-WebSocket-Version', '13', 'Sec-WebSocket-Key', 'AAAAAAAAAAAAAAAAAAAAAA==', '__proto__', 'there']
    const request = http.request({
      createConnection: () => socket,
      headers: [...headers, ...rest, 'constructor', 'there'],
    })
    request.on('error', () => undefined)
    request.end()
    await until(() => rig.upstream.received.includes('\r\n\r\n'))
    expect(rig.upstream.received.toString('latin1')).toMatch(/\r\n__proto__: there\r\n/)
    expect(rig.upstream.received.toString('latin1')).toMatch(/\r\nconstructor: there\r\n/)
    request.destroy()
  })
})
