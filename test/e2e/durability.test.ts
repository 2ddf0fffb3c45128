/**
 * Death at any moment. When the process is killed while sandboxes send, every value that reached the upstream has its
 * release event on disk; it starts again by itself on what is there, goes on releasing, and the audit verifies.
 */
import http from 'node:http'
import tls, { type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HOST, ProcessRig } from '../support/process-rig.ts'
import { proxyAuthorization } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { Wire } from '../support/wire.ts'

const CLIENTS = 8
const ROUNDS = 3

describe('a server that is killed while 8 clients send', () => {
  let rig: ProcessRig
  beforeAll(async () => {
    rig = await ProcessRig.prepare('durability')
  })
  afterAll(async () => {
    await rig.stop()
  })

  /** A tunnel with TLS inside; null when the server is gone. */
  async function dial(): Promise<TLSSocket | null> {
    const { server, upstream, sandbox, ca } = rig.parts
    const authorityText = `${HOST}:${upstream.port}`
    const [name, proof] = proxyAuthorization(sandbox)
    const headers = { host: authorityText, [name]: proof }
    const request = http.request({
      port: server.proxyPort,
      method: 'CONNECT',
      path: authorityText,
      headers,
      agent: false,
    })
    return await new Promise((resolve) => {
      request.once('error', () => resolve(null))
      request.once('connect', (_response, socket) => {
        const secure = tls.connect({ socket, ca, servername: HOST })
        secure.once('secureConnect', () => resolve(secure))
        secure.once('error', () => resolve(null))
        secure.once('close', () => resolve(null))
      })
      request.end()
    })
  }

  /** Sends requests, each with a path of its own, until the connection is gone; resolves with how many were answered 200. */
  async function sendAll(prefix: string, most = Number.POSITIVE_INFINITY): Promise<number> {
    const socket = await dial()
    if (socket === null) return 0
    const wire = new Wire(socket, (chunk) => rig.seen.push(chunk))
    let answered = 0
    try {
      while (answered < most) {
        const { upstream, placeholder } = rig.parts
        const credential = `Authorization: Bearer ${placeholder}`
        wire.write(`GET /${prefix}/${answered} HTTP/1.1\r\nHost: ${HOST}:${upstream.port}\r\n${credential}\r\n\r\n`)
        if ((await wire.message()).status !== 200) break
        answered += 1
      }
    } catch {
      // It was killed.
    }
    socket.destroy()
    return answered
  }

  it.each(Array.from({ length: ROUNDS }, (_none, round) => ({ round })))(
    'has an event for every value that left, and starts again (round $round)',
    async ({ round }) => {
      const { server, upstream, value } = rig.parts
      await server.start()
      const before = upstream.requests.length
      const clients = Array.from({ length: CLIENTS }, (_none, i) => sendAll(`${round}-${i}`))
      // Another moment each round; the upstream's count says that all of them are at it.
      await until(() => upstream.requests.length > before + 50 * (round + 1) + round)
      await server.kill()
      await Promise.all(clients)

      const arrived = upstream.requests.slice(before)
      expect(arrived.every((request) => request.headers.authorization === `Bearer ${value}`)).toBe(true)
      const onDisk = rig.released()
      expect(arrived.map((request) => request.target).filter((path) => !onDisk.has(path))).toEqual([])

      await server.start()
      expect(await sendAll(`again-${round}`, 3)).toBe(3)
      expect(await server.command(['audit', 'verify'])).toMatchObject({ ok: true, firstBad: null })
      await server.kill()
    },
  )

  it('ends in good order when it is asked to, and verifies', async () => {
    const { server } = rig.parts
    await server.start()
    expect(await sendAll('last', 5)).toBe(5)
    await server.kill('SIGTERM')
    expect([...rig.released()].filter((path) => path.startsWith('/last/'))).toHaveLength(5)
    expect(await server.command(['audit', 'verify'])).toMatchObject({ ok: true, firstBad: null })
  })
})
