/**
 * gRPC through the proxy, with the real @grpc/grpc-js at both ends: all four kinds of call live in both directions, and
 * trailers, errors, deadlines and cancellations arrive as what they are. A placeholder in metadata is released like any.
 */
import { once } from 'node:events'
import * as grpc from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { closingEvent } from '../support/audited.ts'
import { CertificateForge } from '../support/certificate-forge.ts'
import { GrpcClient, GrpcServer, type Handlers, metadata, PATHS } from '../support/grpc-service.ts'
import { Rig } from '../support/rig.ts'
import { until } from '../support/until.ts'

let forge: CertificateForge
let server: GrpcServer
let rig: Rig
let client: GrpcClient
/** What the last call brought. */
let seen: grpc.Metadata
let cancelled = 0

const handlers: Handlers = {
  unary(call, done) {
    seen = call.metadata
    call.once('cancelled', () => {
      cancelled += 1
    })
    const text = call.request.toString('latin1')
    if (text === 'wait') return
    if (text === 'fail') {
      done({ code: grpc.status.NOT_FOUND, details: 'no such thing', metadata: metadata({ 'x-why': 'gone' }) })
      return
    }
    if (text === 'echo') {
      const value = metadata({ 'x-echo': String(seen.get('authorization')[0]) })
      call.sendMetadata(value)
      done(null, Buffer.from('echoed'), value)
      return
    }
    done(null, call.request, metadata({ 'x-end': 'trailer' }))
  },
  collect(call, done) {
    const messages: Buffer[] = []
    call.on('data', (message: Buffer) => messages.push(message))
    call.on('end', () => done(null, Buffer.from(`${messages.length}:${Buffer.concat(messages).length}`)))
  },
  repeat(call) {
    const times = Number(call.request)
    for (let i = 0; i < times; i++) call.write(Buffer.from(String(i)))
    call.end(metadata({ 'x-sent': String(times) }))
  },
  converse(call) {
    call.on('data', (message: Buffer) => call.write(Buffer.concat([Buffer.from('re: '), message])))
    call.on('end', () => call.end())
    call.once('cancelled', () => {
      cancelled += 1
    })
  },
}

beforeAll(async () => {
  forge = await CertificateForge.create()
  server = await GrpcServer.start(forge, handlers)
  rig = await Rig.start({ env: { COATCHECK_UPSTREAM_EXTRACA: forge.caFile }, ports: [server.port] })
})
beforeEach(() => {
  cancelled = 0
  client = GrpcClient.through(rig, server.port)
})
afterEach(() => client.close())
afterAll(async () => {
  server.stop()
  await rig.stop()
  await forge.remove()
})

const credential = () => metadata({ authorization: `Bearer ${rig.secret.placeholder}` })

describe('a unary call', () => {
  it('is answered, trailers included', async () => {
    const { message, trailers } = await client.unary(Buffer.from('hello'))
    expect([message.toString(), trailers.get('x-end')]).toEqual(['hello', ['trailer']])
  })

  it('has its credential released, and masked in metadata and trailers', async () => {
    const { head, trailers } = await client.unary(Buffer.from('echo'), credential())
    const masked = [`Bearer ${rig.secret.placeholder}`]
    expect(seen.get('authorization')).toEqual([`Bearer ${rig.value}`])
    expect([head.get('x-echo'), trailers.get('x-echo')]).toEqual([masked, masked])
    expect(await closingEvent(rig, { path: PATHS.unary })).toBeDefined()
  })

  it('that is refused says so', async () => {
    const failing = client.unary(Buffer.from('x'), metadata({ cookie: `a=${rig.secret.placeholder}` }))
    await expect(failing).rejects.toMatchObject({ code: grpc.status.PERMISSION_DENIED })
  })

  it('that fails without a message has its status, details and metadata', async () => {
    const failing = client.unary(Buffer.from('fail'))
    await expect(failing).rejects.toMatchObject({ code: grpc.status.NOT_FOUND, details: 'no such thing' })
    const error = (await failing.catch((thrown: unknown) => thrown)) as grpc.ServiceError
    expect(error.metadata.get('x-why')).toEqual(['gone'])
  })

  it('that misses its deadline ends here and is cancelled there', async () => {
    const failing = client.unary(Buffer.from('wait'), credential(), { deadline: Date.now() + 300 })
    await expect(failing).rejects.toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED })
    await until(() => cancelled === 1)
    expect(seen.get('grpc-timeout')).toBeDefined()
  })

  it('of 8 MiB arrives whole both ways', async () => {
    const large = Buffer.from(Array.from({ length: 8 * 1024 * 1024 }, (_none, i) => (i * 7 + (i >> 9)) & 0xff))
    const { message } = await client.unary(large, credential())
    expect(message.equals(large)).toBe(true)
  })

  it('goes on beside a hundred others', async () => {
    const texts = Array.from({ length: 100 }, (_none, i) => `call ${i}`)
    const answers = await Promise.all(texts.map((text) => client.unary(Buffer.from(text), credential())))
    expect(answers.map(({ message }) => message.toString())).toEqual(texts)
  })

  it('asks for no coding of its messages when something is released, so that they can be masked', async () => {
    client.close()
    client = GrpcClient.through(rig, server.port, {
      'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip,
    })
    await client.unary(Buffer.from('hello'), credential())
    expect(seen.get('grpc-accept-encoding')).toEqual([])
  })
})

describe('a stream', () => {
  it('from the sandbox arrives message by message', async () => {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const call = client.collect(credential(), (error, value) => {
      if (error === null) resolve(String(value))
      else reject(error)
    })
    for (let i = 0; i < 200; i++) call.write(Buffer.alloc(1000, i))
    call.end()
    expect(await promise).toBe('200:200000')
  })

  it('to the sandbox arrives message by message, with trailers at its end', async () => {
    const call = client.repeat(Buffer.from('500'), credential())
    const received: string[] = []
    call.on('data', (message: Buffer) => received.push(message.toString()))
    const [status] = (await once(call, 'status')) as [grpc.StatusObject]
    expect(received).toEqual(Array.from({ length: 500 }, (_none, i) => String(i)))
    expect([status.code, status.metadata.get('x-sent')]).toEqual([grpc.status.OK, ['500']])
  })

  it.each([
    { name: 'without a release', fields: () => new grpc.Metadata() },
    { name: 'with one', fields: credential },
  ])('both ways is live: each message waits for the answer to the one before, $name', async ({ fields }) => {
    const call = client.converse(fields())
    const received: string[] = []
    for (let i = 0; i < 20; i++) {
      call.write(Buffer.from(`message ${i}`))
      const [answer] = (await once(call, 'data')) as [Buffer]
      received.push(answer.toString())
    }
    call.end()
    const [status] = (await once(call, 'status')) as [grpc.StatusObject]
    expect(status.code).toBe(grpc.status.OK)
    expect(received).toEqual(Array.from({ length: 20 }, (_none, i) => `re: message ${i}`))
  })

  it('that the sandbox cancels is cancelled there', async () => {
    const call = client.converse(credential())
    call.on('error', () => undefined)
    call.write(Buffer.from('one'))
    await once(call, 'data')
    call.cancel()
    await until(() => cancelled === 1)
  })

  it('that is open does not hold up a call beside it', async () => {
    const open = client.converse()
    open.on('error', () => undefined)
    open.write(Buffer.from('one'))
    await once(open, 'data')
    expect((await client.unary(Buffer.from('beside'))).message.toString()).toBe('beside')
    open.cancel()
  })
})
