/**
 * SOCKS5: CONNECT alone, by name and token. After the reply it is a tunnel like one through the proxy: TLS is ended, what
 * may be released is, and a refusal is explained in it. Everything else is answered with the code that RFC 1928 has for it.
 */
import http from 'node:http'
import type { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ClientSandbox, describeClient, echo, lacks } from '../support/client-sandbox.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { freePort } from '../support/free-port.ts'
import { ALLOWED, OTHER, Rig } from '../support/rig.ts'
import { answerTo } from '../support/sandbox-client.ts'
import {
  identifiedSocks,
  openSocks,
  openSocksTls,
  passwordMessage,
  replyCode,
  requestMessage,
  tlsOver,
} from '../support/socks-client.ts'
import { until } from '../support/until.ts'

const PINNED = 'pinned.test'
let rig: Rig
let dials: DialCounter
let closedPort: number
beforeAll(async () => {
  closedPort = await freePort()
  rig = await Rig.start({
    names: [PINNED],
    ports: [closedPort],
    env: {
      COATCHECK_SOCKS_LISTEN: '127.0.0.1:0',
      COATCHECK_PROXY_PASSTHROUGH: JSON.stringify([PINNED, 'denied.test']),
      COATCHECK_EGRESS_RULES: JSON.stringify([{ deny: 'denied.test' }]),
      COATCHECK_LIMITS_HANDSHAKETIMEOUT: '500ms',
    },
  })
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
})
afterEach(async () => {
  rig.upstream.clear()
  rig.plain.clear()
  await until(() => rig.upstream.sockets.size === 0)
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

const bearer = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

function request(socket: Socket, host: string, port: number, fields: readonly string[], path = '/') {
  const headers = ['Host', `${host}:${port}`, ...fields]
  return answerTo(http.request({ createConnection: () => socket, path, headers, setDefaultHeaders: false }))
}

/** The next event of an exchange that is about to be refused or failed. */
function lastEvent(method: string) {
  return until(async () =>
    (await rig.events()).findLast((event) => event.kind === 'exchange' && event.method === method),
  )
}

describe('a tunnel by SOCKS', () => {
  it('releases the value inside TLS, and the token reaches nobody', async () => {
    const answer = await request(await openSocksTls(rig, ALLOWED), ALLOWED, rig.upstream.port, bearer(), '/by-socks')
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect(rig.upstream.received.includes(rig.sandbox.token)).toBe(false)
    const events = await until(async () => {
      const all = (await rig.events()).filter((event) => event.kind !== 'change' && event.path === '/by-socks')
      return all.length === 2 ? all : null
    })
    expect(events.map((event) => event.kind)).toEqual(['release', 'exchange'])
    expect(events[1]).toMatchObject({ sandbox: 'box', host: ALLOWED, decision: 'released' })
  })

  it('explains a refusal inside, with nothing dialled', async () => {
    const answer = await request(await openSocksTls(rig, OTHER), OTHER, rig.upstream.port, bearer())
    expect([answer.status, answer.error?.code]).toEqual([403, 'host_not_allowed'])
    expect(dials.count).toBe(0)
  })

  it('carries plain HTTP, in pieces and with the first bytes sent before the reply', async () => {
    const wire = await identifiedSocks(rig)
    const head = `GET /plain HTTP/1.1\r\nHost: ${ALLOWED}:${rig.plain.port}\r\nX: 1\r\n\r\n`
    wire.write(Buffer.concat([requestMessage(ALLOWED, rig.plain.port), Buffer.from(head.slice(0, 20))]))
    expect(await replyCode(wire)).toBe(0)
    for (const part of [head.slice(20, 40), head.slice(40)]) {
      await new Promise((resolve) => setImmediate(resolve))
      wire.write(part)
    }
    expect(await wire.message()).toMatchObject({ status: 200, body: Buffer.from('ok') })
    expect(rig.plain.last.target).toBe('/plain')
    wire.socket.destroy()
  })

  it('goes to a literal address, in either family and as a name', async () => {
    for (const host of [Buffer.from([127, 0, 0, 1]), '127.0.0.1']) {
      const wire = await identifiedSocks(rig)
      wire.write(requestMessage(host, rig.plain.port))
      expect(await replyCode(wire)).toBe(0)
      wire.write(`GET /literal HTTP/1.1\r\nHost: 127.0.0.1:${rig.plain.port}\r\n\r\n`)
      expect((await wire.message()).status).toBe(200)
      wire.socket.destroy()
    }
    for (const host of [Buffer.from('00000000000000000000000000000001', 'hex'), '::1', '[::1]']) {
      const wire = await identifiedSocks(rig)
      wire.write(requestMessage(host, 80))
      expect(await replyCode(wire)).toBe(0)
      wire.write('GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n')
      expect((await wire.message()).body.toString()).toContain('address_denied')
      wire.socket.destroy()
    }
  })

  it('asked for by address does not serve a name in TLS: who resolves decides where it goes', async () => {
    const wire = await identifiedSocks(rig)
    wire.write(requestMessage(Buffer.from([127, 0, 0, 1]), rig.upstream.port))
    expect(await replyCode(wire)).toBe(0)
    const anyName = { checkServerIdentity: () => undefined }
    await tlsOver(rig, wire.socket as Socket, ALLOWED, anyName).catch(() => undefined)
    await wire.closed
    expect(await lastEvent('CONNECT')).toMatchObject({ reason: 'sni_mismatch', host: '127.0.0.1' })
    expect(dials.count).toBe(0)
  })

  it('is blind to a pinned host, and refused with its code where a blind tunnel is', async () => {
    const open = await identifiedSocks(rig)
    open.write(requestMessage(PINNED, rig.plain.port))
    expect(await replyCode(open)).toBe(0)
    open.write(`GET / HTTP/1.1\r\nHost: x\r\nAuthorization: ${rig.secret.placeholder}\r\n\r\n`)
    expect((await open.message()).status).toBe(200)
    expect(rig.plain.last.headers.authorization).toBe(rig.secret.placeholder)
    open.socket.destroy()
    const codes: number[] = []
    for (const [host, port] of [
      ['denied.test', 443],
      [PINNED, 22],
      [PINNED, closedPort],
    ] as const) {
      const wire = await identifiedSocks(rig)
      wire.write(requestMessage(host, port))
      codes.push(await replyCode(wire))
      await wire.closed
    }
    expect(codes).toEqual([2, 2, 5])
  })
})

describe('who cannot prove itself', () => {
  it('is not offered no authentication', async () => {
    const wire = await openSocks(rig)
    wire.write(Buffer.from([5, 2, 0, 1]))
    expect([...(await wire.take(2))]).toEqual([5, 0xff])
    await wire.closed
  })

  it.each([
    ['a wrong token', () => ({ name: 'box', token: `cst_${'A'.repeat(43)}` })],
    ['the token of another', () => ({ name: 'other', token: rig.sandbox.token })],
    ['nothing', () => ({ name: '', token: '' })],
  ])('is told so, recorded, and closed: %s', async (_name, credentials) => {
    const before = (await rig.events()).length
    const wire = await openSocks(rig)
    wire.write(Buffer.concat([Buffer.from([5, 1, 2]), passwordMessage(credentials())]))
    expect([...(await wire.take(4))]).toEqual([5, 2, 1, 1])
    await wire.closed
    const events = await until(async () => {
      const all = await rig.events()
      return all.length > before ? all.slice(before) : null
    })
    expect(events).toMatchObject([{ kind: 'exchange', reason: 'identity_required', sandbox: null }])
  })
})

describe('what is not CONNECT', () => {
  it.each([
    ['BIND', 2],
    ['UDP-ASSOCIATE', 3],
    ['unknown', 9],
  ])('is refused as a command that is not supported: %s', async (method, command) => {
    const wire = await identifiedSocks(rig)
    wire.write(requestMessage(ALLOWED, 443, command))
    expect(await replyCode(wire)).toBe(7)
    await wire.closed
    expect(await lastEvent(method)).toMatchObject({ reason: 'method_not_allowed', sandbox: 'box' })
  })

  it.each([
    ['a type of address that there is not', Buffer.from([5, 1, 0, 2, 1, 1, 1, 1, 0, 80]), 8],
    ['a name that is no host', requestMessage('a%2eb', 443), 2],
    ['a name with a zero byte', requestMessage(`${ALLOWED}\0.evil.test`, 443), 2],
    ['an empty name', requestMessage('', 443), 2],
    ['port 0', requestMessage(ALLOWED, 0), 2],
  ])('is refused with a reply: %s', async (_name, message, code) => {
    const wire = await identifiedSocks(rig)
    wire.write(message)
    expect(await replyCode(wire)).toBe(code)
    await wire.closed
    expect(dials.count).toBe(0)
  })
})

describe('what is not SOCKS5', () => {
  it.each([
    ['SOCKS4', Buffer.from([4, 1, 0, 80, 127, 0, 0, 1, 0])],
    ['HTTP', Buffer.from('CONNECT a:1 HTTP/1.1\r\n\r\n')],
    ['TLS', Buffer.from([22, 3, 1, 0, 5])],
    ['credentials of another version', Buffer.from([5, 1, 2, 5, 1, 1])],
  ])('is closed without an answer that it could take for one: %s', async (_name, bytes) => {
    const wire = await openSocks(rig)
    wire.write(bytes)
    await wire.closed
    expect(wire.unread.length).toBeLessThanOrEqual(2)
  })

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['half a greeting', Buffer.from([5, 255, 0])],
    ['half a name', Buffer.from([5, 1, 2, 1, 200, 65])],
  ])('is closed when its time is over: %s', async (_name, bytes) => {
    const wire = await openSocks(rig)
    if (bytes.length > 0) wire.write(bytes)
    await wire.closed
  })

  it('is answered the same in single bytes', async () => {
    const wire = await openSocks(rig)
    const all = [Buffer.from([5, 1, 2]), passwordMessage(rig.sandbox), requestMessage(ALLOWED, rig.plain.port)]
    for (const byte of Buffer.concat(all)) {
      wire.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect([...(await wire.take(6))]).toEqual([5, 2, 1, 0, 5, 0])
    wire.socket.destroy()
  })
})

describeClient('curl', lacks('curl'), () => {
  let sandbox: ClientSandbox
  beforeAll(async () => {
    sandbox = await ClientSandbox.create(rig)
  })
  afterAll(async () => {
    await sandbox.remove()
  })

  const address = () => `127.0.0.1:${rig.app.addressOf('socks.listen')?.port}`
  const curl = (...args: readonly string[]) =>
    sandbox.run('curl', ['--silent', '--show-error', '--noproxy', '', ...args], {
      env: {
        HTTPS_PROXY: '',
        HTTP_PROXY: '',
        ALL_PROXY: '',
        https_proxy: '',
        http_proxy: '',
        all_proxy: '',
        NO_PROXY: '',
        no_proxy: '',
      },
    })

  it('goes through with --socks5-hostname and --proxy-user', async () => {
    rig.upstream.answerWith(echo)
    const header = `Authorization: Bearer ${sandbox.placeholder}`
    const who = ['--proxy-user', `${sandbox.name}:${sandbox.token}`]
    const finished = await curl('--socks5-hostname', address(), ...who, '--header', header, rig.url())
    expect(finished, finished.stderr).toMatchObject({ code: 0 })
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    expect(finished.stdout).toContain(sandbox.placeholder)
  })

  it('goes through with ALL_PROXY=socks5h://name:token@…, and with a wrong token it does not', async () => {
    const url = `socks5h://${sandbox.name}:${sandbox.token}@${address()}`
    const through = await curl('--proxy', url, '--header', `X-Api-Key: ${sandbox.placeholder}`, rig.url())
    expect(through, through.stderr).toMatchObject({ code: 0, stdout: 'ok' })
    expect(rig.upstream.last.headers['x-api-key']).toBe(rig.value)
    const wrong = await curl('--proxy', url.replace(sandbox.token, 'x'), rig.url())
    expect(wrong.code).toBe(97)
  })
})
