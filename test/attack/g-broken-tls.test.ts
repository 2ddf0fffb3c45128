/**
 * TLS that breaks at the worst moment, in the same segment as the end of a handshake: the connection is lost, nothing
 * else is, and no error goes unheard (one would end the process, and fail this file).
 */
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import tls, { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { outcome } from '../support/audited.ts'
import { Rig } from '../support/rig.ts'
import { openTls, openTunnel, send } from '../support/sandbox-client.ts'
import { FORGED_RECORD, tampered } from '../support/tampered-stream.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

let rig: Rig
/** Every handshake it completes is followed, in the same segment, by a record that cannot be decrypted. */
let forger: net.Server
beforeAll(async () => {
  forger = net.createServer((socket) => {
    const forged = tampered(socket, (bytes, write) => (write === 0 ? Buffer.concat([bytes, FORGED_RECORD]) : bytes))
    void rig.authority.contextFor('api.test').then((secureContext) => {
      new TLSSocket(forged, { isServer: true, secureContext }).on('error', () => undefined)
    })
  })
  forger.listen(0, '127.0.0.1')
  await once(forger, 'listening')
  rig = await Rig.start({ ports: [(forger.address() as AddressInfo).port] })
})
afterAll(async () => {
  forger.close()
  await rig.stop()
})

describe('G12 a forged TLS record', () => {
  it.each([
    ['ClientHello', 0],
    ['end of its handshake', 1],
  ])('G12 from the sandbox behind the %s costs it the tunnel and nothing else', async (_name, at) => {
    const tunnel = await openTunnel(rig.sandbox, `api.test:${rig.upstream.port}`)
    const forged = tampered(tunnel, (bytes, write) => (write === at ? Buffer.concat([bytes, FORGED_RECORD]) : bytes))
    const secure = tls.connect({ socket: forged, ca: rig.app.data.authority.certificatePem, servername: 'api.test' })
    secure.on('error', () => undefined)
    secure.resume()
    await once(tunnel, 'close')
    expect((await send(rig)).status).toBe(200)
  })

  it('G12 from the sandbox while it waits for an answer costs it the tunnel and nothing else', async () => {
    rig.upstream.clear()
    rig.upstream.answerWith(() => undefined)
    const tunnel = await openTunnel(rig.sandbox, `api.test:${rig.upstream.port}`)
    const secure = tls.connect({ socket: tunnel, ca: rig.app.data.authority.certificatePem, servername: 'api.test' })
    secure.on('error', () => undefined)
    secure.resume()
    secure.write(`GET /waits HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n\r\n`)
    await until(() => rig.upstream.requests.length > 0)
    const closed = new Promise((resolve) => secure.once('close', resolve))
    tunnel.write(FORGED_RECORD)
    await closed
    expect(await outcome(rig, { path: '/waits' })).toEqual({
      decision: 'failed',
      reason: 'client_aborted',
      status: null,
    })
    rig.upstream.clear()
    expect((await send(rig)).status).toBe(200)
  })

  it('G12 from the upstream is a 502', async () => {
    const { port } = forger.address() as AddressInfo
    const wire = new Wire(await openTls(rig, 'api.test', { port }), (chunk) => rig.seen.push(chunk))
    wire.write(
      `GET /forged HTTP/1.1\r\nHost: api.test:${port}\r\nAuthorization: Bearer ${rig.secret.placeholder}\r\n\r\n`,
    )
    const answer = await wire.message()
    expect(answer.status).toBe(502)
    expect(answer.body.toString()).not.toMatch(/ssl|decrypt|record|mac/i)
    wire.socket.destroy()
    expect(await outcome(rig, { path: '/forged' })).toMatchObject({ decision: 'failed', status: 502 })
    expect((await send(rig)).status).toBe(200)
  })
})
