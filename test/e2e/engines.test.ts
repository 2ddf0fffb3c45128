/** Both engines that can speak HTTP/1.1 to upstreams keep the same promises: `upstream.engine` decides which one does. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Rig } from '../support/rig.ts'
import { headText, openWire } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type Wire, type WireMessage } from '../support/wire.ts'

describe.each(['strict', 'undici'])('with %s as the engine', (engine) => {
  let rig: Rig
  beforeAll(async () => {
    rig = await Rig.start({ env: { COATCHECK_UPSTREAM_ENGINE: engine, COATCHECK_UPSTREAM_HEADERSTIMEOUT: '1s' } })
  })
  afterEach(async () => {
    rig.upstream.clear()
    await until(() => rig.upstream.sockets.size === 0)
  })
  afterAll(async () => {
    await rig.stop()
  })

  const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

  async function ask(line: string, fields: readonly string[], body = ''): Promise<WireMessage> {
    const wire = await openWire(rig)
    wire.write(headText(rig, line, fields) + body)
    const answer = await wire.message()
    wire.socket.destroy()
    return answer
  }

  function answerRaw(answer: string): void {
    rig.upstream.takeRaw(async (upstream: Wire) => {
      await upstream.head()
      upstream.write(answer)
    })
  }

  it('a value arrives, and comes back as the placeholder', async () => {
    answerRaw(`HTTP/1.1 200 OK\r\nX-Echo: ${rig.value}\r\nContent-Length: ${rig.value.length}\r\n\r\n${rig.value}`)
    const answer = await ask('GET /', credential())
    expect([answer.status, ...valuesOf(answer.fields, 'x-echo')]).toEqual([200, rig.secret.placeholder])
    expect(answer.body.toString()).toBe(rig.secret.placeholder)
  })

  it.each([
    { framing: 'with a length', fields: ['Content-Length', '5'], body: 'hello' },
    { framing: 'in chunks', fields: ['Transfer-Encoding', 'chunked'], body: '2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n' },
  ])('a body $framing arrives, framed as it was', async ({ fields, body }) => {
    expect((await ask('POST /', [...credential(), ...fields], body)).status).toBe(200)
    expect(rig.upstream.last.body.toString()).toBe('hello')
    expect(rig.upstream.last.headers[(fields[0] as string).toLowerCase()]).toBe(fields[1])
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  })

  it('requests one after another share a connection', async () => {
    const before = rig.upstream.connections
    const wire = await openWire(rig)
    for (let i = 0; i < 3; i += 1) {
      wire.write(headText(rig, 'GET /', credential()))
      expect((await wire.message()).status).toBe(200)
    }
    wire.socket.destroy()
    expect(rig.upstream.connections - before).toBe(1)
  })

  it('interim answers, chunks and trailers come back', async () => {
    answerRaw(
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n',
    )
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /', []))
    expect((await wire.head()).status).toBe(103)
    const answer = await wire.message()
    expect([answer.status, answer.body.toString(), ...answer.trailers]).toEqual([200, 'ok', 'X-T', '1'])
    wire.socket.destroy()
  })

  it.each([
    { what: 'is no HTTP', answer: 'SSH-2.0-OpenSSH_9.2\r\n\r\n' },
    {
      what: 'has two lengths that differ',
      answer: 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok',
    },
    {
      what: 'has a length and chunks',
      answer: 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    },
    { what: 'has a coding that nobody asked for', answer: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n' },
    {
      what: 'switches protocols',
      answer: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    },
  ])('an answer that $what is a 502', async ({ answer }) => {
    answerRaw(answer)
    const refusal = await ask('GET /', credential())
    expect([refusal.status, ...valuesOf(refusal.fields, 'coatcheck-error')]).toEqual([502, 'upstream_failed'])
  })

  it('an upstream that says nothing is a 504', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
    })
    const refusal = await ask('GET /', credential())
    expect([refusal.status, ...valuesOf(refusal.fields, 'coatcheck-error')]).toEqual([504, 'upstream_timeout'])
  })

  it('a sandbox that leaves is told to the upstream', async () => {
    let gone = false
    rig.upstream.takeRaw(async (upstream) => {
      upstream.socket.once('close', () => {
        gone = true
      })
      await upstream.head()
    })
    const wire = await openWire(rig)
    wire.write(headText(rig, 'GET /left', credential()))
    await until(() => rig.upstream.sockets.size === 1)
    wire.socket.destroy()
    await until(() => gone)
  })
})
