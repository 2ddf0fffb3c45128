/**
 * What only shows with HTTP/2 on either side, or alike in every mix: names in small letters, credentials in base64, and
 * messages that cannot be searched.
 */
import { constants } from 'node:http2'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { askOver, echoH1, echoH2, MIXES } from '../support/either-protocol.ts'
import { GrpcClient, metadata } from '../support/grpc-service.ts'
import { H2Sandbox } from '../support/h2-sandbox.ts'
import { type H2Answer, H2Upstream } from '../support/h2-upstream.ts'
import { Rig } from '../support/rig.ts'
import { until } from '../support/until.ts'

let rig: Rig
let h2: H2Upstream
beforeAll(async () => {
  h2 = await H2Upstream.start()
  rig = await Rig.start({ ports: [h2.port] })
  h2.certifiedBy(rig.authority)
})
afterEach(async () => {
  rig.upstream.clear()
  h2.clear()
  await until(() => rig.upstream.sockets.size + h2.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
  await h2.stop()
})

const credential = () => ['authorization', `Bearer ${rig.secret.placeholder}`]

describe.each(MIXES)('a sandbox on %s and an upstream on %s', (sandbox, upstream) => {
  const ask = (options: Parameters<typeof askOver>[3] = {}) =>
    askOver(sandbox, rig, upstream === 'h1' ? rig.upstream.port : h2.port, options)

  it('mask it in the name of a field, in whatever case, and in a trailer’s', async () => {
    const name = `x-${rig.value}`
    rig.upstream.answerWith((_request, response) => {
      response.writeHead(200, { [name]: 'in a name', trailer: name })
      response.write('ok')
      response.addTrailers({ [name]: 'in a name' })
      response.end()
    })
    h2.answerWith(({ stream }) => {
      stream.respond({ ':status': 200, [name]: 'in a name' }, { waitForTrailers: true })
      stream.once('wantTrailers', () => stream.sendTrailers({ [name]: 'in a name' }))
      stream.end('ok')
    })
    const { headers, trailers } = await ask({ headers: credential() })
    expect(JSON.stringify([headers, trailers]).toLowerCase()).not.toContain(rig.value.toLowerCase())
    expect(headers[`x-${rig.secret.placeholder}`]).toBe('in a name')
    expect(trailers[`x-${rig.secret.placeholder}`]).toBe('in a name')
  })

  it('give back whole Basic credentials as the sandbox sent them', async () => {
    const basic = (password: string) => `Basic ${Buffer.from(`user:${password}`).toString('base64')}`
    const sent = basic(rig.secret.placeholder)
    rig.upstream.answerWith(echoH1)
    h2.answerWith(echoH2)
    for (const echo of ['length', 'stream']) {
      const answer = await ask({ path: `/${echo}`, headers: ['authorization', sent] })
      expect([answer.headers['x-echo'], answer.body.toString()]).toEqual([sent, sent])
    }
  })
})

describe('an answer in messages', () => {
  const shown = () => rig.secret.placeholder.slice(0, rig.value.length).padEnd(rig.value.length)
  const prefixed = (flags: number, content: Buffer | string) =>
    Buffer.concat([Buffer.from([flags, 0, 0, 0, content.length]), Buffer.from(content)])

  /** What the sandbox has got of the answer when its stream is closed, and how it was. */
  async function cut(answer: H2Answer): Promise<{ text: string; code: number | undefined; status: string }> {
    h2.answerWith(answer)
    const client = await H2Sandbox.open(rig, { port: h2.port })
    const stream = client.begin({ headers: credential() })
    const status = new Promise<string>((resolve) => {
      stream.once('response', (headers) => resolve(String(headers['coatcheck-error'] ?? headers[':status'])))
    })
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    await new Promise((closed) => stream.once('close', closed))
    client.close()
    return { text: Buffer.concat(chunks).toString('latin1'), code: stream.rstCode, status: await status }
  }

  it('one of which is compressed is broken off there', async () => {
    const { text, code } = await cut(({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.write(prefixed(0, 'first'), () => stream.end(prefixed(1, 'packed')))
    })
    expect(text).not.toContain('packed')
    expect(code).toBe(constants.NGHTTP2_INTERNAL_ERROR)
  })

  it('whose head says that they are in a coding that is not opened is refused', async () => {
    const { status, text } = await cut(({ stream }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'snappy' })
      stream.end(prefixed(1, 'packed'))
    })
    expect(status).toBe('unmaskable_response')
    expect(text).not.toContain('packed')
  })

  it('that are in gzip and come with a Content-Length arrive whole, with the value or without', async () => {
    for (const text of ['nothing to see', `the key is ${rig.value}, still`]) {
      const packed = prefixed(1, gzipSync(text))
      rig.upstream.answerWith((_request, response) => {
        const head = {
          'content-type': 'application/grpc-web',
          'grpc-encoding': 'gzip',
          'content-length': packed.length,
        }
        response.writeHead(200, head).end(packed)
      })
      const { body, headers } = await askOver('h1', rig, rig.upstream.port, { headers: credential() })
      expect(body).toEqual(prefixed(0, text.replace(rig.value, shown())))
      expect(headers['grpc-encoding']).toBeUndefined()
    }
  })

  it('that are in gzip, as the head says, comes plain and masked to a real gRPC client', async () => {
    h2.answerWith(({ stream, headers }) => {
      const value = String(headers['authorization']).slice(7)
      const head = { ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' }
      stream.respond(head, { waitForTrailers: true })
      stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(prefixed(1, gzipSync(`the key is ${value}, still`)))
    })
    const client = GrpcClient.through(rig, h2.port)
    const fields = metadata({ authorization: `Bearer ${rig.secret.placeholder}` })
    const { message } = await client.unary(Buffer.from('x'), fields).finally(() => client.close())
    expect(message.toString()).toBe(`the key is ${shown()}, still`)
  })
})
