/** Upstream connections are kept per workspace, scheme, host and port: none of the four is ever shared. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { canonicalHost } from '../../src/core/host.ts'
import { H1Forwarder } from '../../src/proxy/forward.ts'
import type { Destination, ForwardObserver, OutgoingRequest, ResponseSink } from '../../src/proxy/message.ts'
import { strictClient } from '../../src/proxy/strict-client.ts'
import { undiciClient } from '../../src/proxy/undici-client.ts'
import type { Upstream } from '../../src/proxy/upstream.ts'
import { RecordingUpstream } from '../support/recording-upstream.ts'

/** Takes a response and keeps nothing but that it was whole. */
class WholeSink implements ResponseSink {
  headSent = false
  status: number | null = null
  bytes = 0
  readonly gone = false
  informational(): void {}
  switching(headers: readonly string[]): readonly string[] {
    return headers
  }
  head(status: number): void {
    this.status = status
    this.headSent = true
  }
  write(chunk: Buffer): boolean {
    this.bytes += chunk.length
    return true
  }
  onDrain(): void {}
  leave: () => void = () => undefined
  onGone(callback: () => void): void {
    this.leave = callback
  }
  end(): void {}
  abort(): void {}
  settled(): null {
    return null
  }
  explain(error: unknown): unknown {
    return error
  }
}

const observer: ForwardObserver = { reached: () => undefined, received: () => undefined }

let server: RecordingUpstream
/** Destinations that were dialled, in order; every one of them leads to the same server. */
const dialled: Destination[] = []
let forwarder: H1Forwarder

beforeAll(async () => {
  server = await RecordingUpstream.start()
})
afterAll(async () => {
  await server.stop()
})

const base = { workspaceId: 'one', scheme: 'http', host: 'a.test', port: 80 } as const

async function ask(
  where: Partial<
    { workspaceId: string; scheme: 'http' | 'https'; host: string; port: number } & Pick<
      OutgoingRequest,
      'body' | 'trailers'
    >
  >,
  sink = new WholeSink(),
): Promise<void> {
  const { workspaceId, scheme, host, port, body = null, trailers = null } = { ...base, ...where }
  const destination = { scheme, host: canonicalHost(host), port }
  const headers = ['Host', host, ...(trailers === null ? [] : ['Trailer', 'X-Sum'])]
  const request: OutgoingRequest = {
    workspaceId,
    destination,
    method: body === null ? 'GET' : 'POST',
    path: '/',
    headers,
    body,
    trailers,
    upgrade: null,
    received: { httpVersion: '1.1', target: '/', headers },
  }
  await forwarder.forward(request, sink, observer)
  expect([sink.status, sink.bytes]).toEqual([200, 2])
}

describe.each([
  { name: 'strict', engine: strictClient, sendsTrailers: true },
  { name: 'undici', engine: undiciClient, sendsTrailers: false },
])('with $name as the engine', ({ engine, sendsTrailers }) => {
  beforeEach(() => {
    dialled.length = 0
    const upstream = {
      async open(destination: Destination) {
        dialled.push(destination)
        const socket = net.connect((server.server.address() as AddressInfo).port, '127.0.0.1')
        await once(socket, 'connect')
        return { socket, peer: { address: '127.0.0.1', fingerprint: null } }
      },
    }
    forwarder = new H1Forwarder(
      upstream as unknown as Upstream,
      {
        headersTimeoutMs: 10_000,
        idleTimeoutMs: 10_000,
        headerBytes: 65_536,
      },
      engine,
    )
  })

  it('requests of one workspace to one destination share a connection', async () => {
    for (let i = 0; i < 5; i += 1) await ask({})
    expect(dialled).toHaveLength(1)
    await forwarder.close()
  })

  it('a sandbox that leaves after its answer was complete takes none from the next one', async () => {
    const first = new WholeSink()
    await ask({}, first)
    const asked = new Promise<ServerResponse>((resolve) => server.answerWith((_request, response) => resolve(response)))
    const second = ask({})
    const response = await asked
    first.leave()
    response.end('ok')
    await second
    expect(dialled).toHaveLength(1)
    server.clear()
    await forwarder.close()
  })

  it(`sends trailers of a chunked request: ${sendsTrailers}`, async () => {
    const { promise: arrived, resolve } = Promise.withResolvers<readonly string[]>()
    server.answerWith((request, response) => {
      request.resume().once('end', () => {
        resolve(request.rawTrailers)
        response.end('ok')
      })
    })
    let times = 0
    const trailers = () => {
      times += 1
      return Promise.resolve(['X-Sum', 'abc'])
    }
    await ask({ body: Readable.from([Buffer.from('body')], { objectMode: true }), trailers })
    expect([await arrived, times]).toEqual(sendsTrailers ? [['X-Sum', 'abc'], 1] : [[], 0])
    await forwarder.close()
  })

  it.each([
    { what: 'workspaces', other: { workspaceId: 'two' } },
    { what: 'workspaces whose names run into the rest', other: { workspaceId: 'one|http|a.test|80' } },
    { what: 'schemes', other: { scheme: 'https' as const } },
    { what: 'hosts', other: { host: 'b.test' } },
    { what: 'ports', other: { port: 81 } },
  ])('two $what never share one', async ({ other }) => {
    await ask({})
    await ask(other)
    await ask({})
    await ask(other)
    expect(dialled).toHaveLength(2)
    await forwarder.close()
  })
})
