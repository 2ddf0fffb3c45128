/** How much of a thing a sandbox may have at once; beyond it is refused with the reason, and afterwards served again. */
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Rig, type RigSandbox } from '../support/rig.ts'
import { openTunnel, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, Wire } from '../support/wire.ts'

let rig: Rig
let neighbour: RigSandbox
beforeAll(async () => {
  rig = await Rig.start({
    env: {
      COATCHECK_LIMITS_TUNNELSPERSANDBOX: '5',
      COATCHECK_LIMITS_CONNECTIONS: '40',
      COATCHECK_LIMITS_HEADERSTIMEOUT: '2s',
    },
  })
  neighbour = await rig.sandboxWith('neighbour', { KEY: 'openai' })
})
afterAll(async () => {
  await rig.stop()
})
beforeEach(() => rig.upstream.clear())

const host = () => `Host: api.test:${rig.upstream.port}`
const authority = () => `api.test:${rig.upstream.port}`

async function closeAll(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) {
    socket.destroy()
    if (!socket.closed) await once(socket, 'close')
  }
}

describe('G05 connections', () => {
  it('G05 tunnels of one sandbox are bounded; its neighbour has its own, and closing makes room', async () => {
    const open = await Promise.all(Array.from({ length: 5 }, () => openTunnel(rig.sandbox, authority())))
    await expect(openTunnel(rig.sandbox, authority())).rejects.toThrow('429')
    expect((await send(rig, { sandbox: neighbour })).status).toBe(200)
    await closeAll(open)
    const again = await until(() => openTunnel(rig.sandbox, authority()).catch(() => null))
    await closeAll([again])
  })

  it('G05 connections in all are bounded, and accepting goes on once some are closed', async () => {
    const { hostname, port } = new URL(rig.app.proxyUrl)
    const sockets = Array.from({ length: 60 }, () => net.connect(Number(port), hostname).on('error', () => undefined))
    await until(() => sockets.some((socket) => socket.closed))
    await closeAll(sockets)
    const answer = await until(() => send(rig).catch(() => null))
    expect(answer.status).toBe(200)
  })
})

describe('G06 the size of a head', () => {
  async function ask(head: string) {
    const wire = await openWire(rig)
    wire.write(`${head}\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    return [answer.status, valuesOf(answer.fields, 'coatcheck-error')[0]]
  }

  it.each([
    ['a target of 64 KiB', () => `GET /${'a'.repeat(65_536)} HTTP/1.1\r\n${host()}\r\n`],
    ['a field of 64 KiB', () => `GET / HTTP/1.1\r\n${host()}\r\nX-A: ${'a'.repeat(65_536)}\r\n`],
    ['ten thousand cookies', () => `GET / HTTP/1.1\r\n${host()}\r\n${'Cookie: a=b\r\n'.repeat(10_000)}`],
    ['a megabyte', () => `GET / HTTP/1.1\r\n${host()}\r\nX-A: ${'a'.repeat(1_048_576)}\r\n`],
  ])('G06 %s is too large', async (_name, head) => {
    expect(await ask(head())).toEqual([431, 'headers_too_large'])
    expect(rig.upstream.connections).toBe(0)
  })

  it('G06 what is large but within the limit is forwarded whole', async () => {
    const target = `/${'a'.repeat(6_000)}`
    expect(await ask(`GET ${target} HTTP/1.1\r\n${host()}\r\nX-A: ${'b'.repeat(6_000)}\r\n`)).toEqual([200, undefined])
    expect(rig.upstream.last.target).toBe(target)
    expect(rig.upstream.last.headers['x-a']).toHaveLength(6_000)
  })

  it('G06 no field is dropped for being the last of many: what follows it is judged, and forwarded or refused', async () => {
    const many = 'a:b\r\n'.repeat(2_500)
    rig.upstream.takeRaw(async (wire) => {
      await wire.head()
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
    const refused = [431, 'headers_too_large']
    const first = await ask(`GET / HTTP/1.1\r\n${host()}\r\n${many}X-Last: here\r\n`)
    if (first[0] === 200) expect(rig.upstream.received.toString('latin1')).toMatch(/\r\nX-Last: here\r\n/)
    else expect(first).toEqual(refused)
    rig.upstream.clear()
    const second = await ask(`GET / HTTP/1.1\r\n${host()}\r\n${many}Host: evil.test\r\n`)
    expect([refused, [400, 'bad_request']]).toContainEqual(second)
    const third = await ask(`GET / HTTP/1.1\r\n${host()}\r\n${many}X-Forwarded-For: ${rig.secret.placeholder}\r\n`)
    expect([refused, [403, 'placement_not_allowed']]).toContainEqual(third)
    expect(rig.upstream.connections).toBe(0)
  })

  it('G06 a chunk that claims to be a gigabyte costs nothing until it comes', async () => {
    const before = process.memoryUsage().arrayBuffers
    const wire = await openWire(rig)
    wire.write(`POST /g06 HTTP/1.1\r\n${host()}\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\nhello`)
    await until(() => rig.upstream.received.includes('hello'))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024)
    wire.socket.destroy()
  })
})

describe('G06 on the proxy’s own port', () => {
  it('G06 a CONNECT that is too large is refused', async () => {
    const { hostname, port } = new URL(rig.app.proxyUrl)
    const wire = new Wire(net.connect(Number(port), hostname))
    wire.write(`CONNECT ${'a'.repeat(70_000)}:443 HTTP/1.1\r\n\r\n`)
    const answer = await wire.message()
    expect([answer.status, valuesOf(answer.fields, 'coatcheck-error')]).toEqual([431, ['headers_too_large']])
    await wire.closed
  })
})
