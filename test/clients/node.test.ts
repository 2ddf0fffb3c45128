/**
 * Contract: what Node programs use needs nothing beyond a sandbox's environment, NODE_USE_ENV_PROXY=1 being part of it.
 * A WebSocket of `ws` needs to be given an agent, and libraries with their own tunnels need the proxy's URL.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { ClientSandbox, echo, type Finished } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'
import { expectBearerSwapped } from '../support/swapped.ts'

const PROGRAM = join(import.meta.dirname, 'programs', 'node-client.ts')

describe('Node', () => {
  let rig: Rig
  let sandbox: ClientSandbox
  beforeAll(async () => {
    rig = await Rig.start()
    sandbox = await ClientSandbox.create(rig)
  })
  beforeEach(() => {
    rig.upstream.clear()
    rig.upstream.answerWith(echo)
  })
  afterAll(async () => {
    await sandbox.remove()
    await rig.stop()
  })

  const node = (client: string, env: Record<string, string> = {}): Promise<Finished> =>
    sandbox.run(process.execPath, [PROGRAM, client, rig.url()], { env })

  it.each(['fetch', 'https.get', 'undici fetch', 'undici request', 'axios', 'axios on fetch'])(
    '%s works with no further setting',
    async (client) => expectBearerSwapped(rig, sandbox, await node(client)),
  )

  it.each(['undici ProxyAgent', 'undici EnvHttpProxyAgent', 'https.get with a CONNECT agent'])(
    '%s works, also without NODE_USE_ENV_PROXY',
    async (client) => {
      expectBearerSwapped(rig, sandbox, await node(client))
      expectBearerSwapped(rig, sandbox, await node(client, { NODE_USE_ENV_PROXY: '0' }))
    },
  )

  it('axios reads the proxy variables itself, tunnels https, and works without NODE_USE_ENV_PROXY', async () => {
    expectBearerSwapped(rig, sandbox, await node('axios', { NODE_USE_ENV_PROXY: '0' }))
  })

  it('https in absolute form, without a tunnel, works: older versions of axios send it', async () => {
    expectBearerSwapped(rig, sandbox, await node('https in absolute form'))
  })

  it('axios posts JSON', async () => {
    expectBearerSwapped(rig, sandbox, await node('axios post'))
    expect(rig.upstream.last.body.toString()).toBe('{"a":1}')
  })

  it('fetch without NODE_USE_ENV_PROXY goes past the proxy, and finds nothing there', async () => {
    const finished = await node('fetch', { NODE_USE_ENV_PROXY: '0' })
    expect(finished.code).not.toBe(0)
    expect(rig.upstream.connections).toBe(0)
  })

  describe('a WebSocket of ws', () => {
    let server: WebSocketServer
    beforeAll(() => {
      server = new WebSocketServer({ server: rig.upstream.server })
      server.on('connection', (socket, request) => {
        socket.on('message', () => socket.send(`${request.headers.authorization === `Bearer ${rig.value}`}`))
      })
    })
    afterAll(() => {
      rig.upstream.clear()
      server.close()
    })

    it.each(['ws with https.globalAgent', 'ws with a proxyEnv agent', 'ws with a CONNECT agent'])(
      '%s opens, and the value arrived in its handshake',
      async (client) => {
        const finished = await node(client)
        expect(finished, finished.stderr).toMatchObject({ code: 0, stdout: 'true' })
      },
    )
  })
})
