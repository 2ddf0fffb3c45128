/**
 * A value in a gRPC message, with the real @grpc/grpc-js at both ends: the call succeeds, every length in the message is
 * true, and the placeholder stands where the value stood, cut or padded to its length. Nothing waits for the next message.
 */
import { once } from 'node:events'
import * as grpc from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { CertificateForge } from '../support/certificate-forge.ts'
import { GrpcClient, GrpcServer, type Handlers, metadata } from '../support/grpc-service.ts'
import { canary, leaksIn } from '../support/leak-check.ts'
import { Rig } from '../support/rig.ts'

let forge: CertificateForge
let server: GrpcServer
let rig: Rig
let client: GrpcClient
/** One value shorter than its placeholder, one longer. */
const values = { short: canary('s', crypto.randomUUID().slice(0, 18)), long: canary('l', 'Zk39fjQ0aLx81mNq'.repeat(9)) }
const placeholders: Record<string, string> = {}

/** Protobuf: field 1 is this text, field 2 a text behind it that a wrong length would tear. */
function encoded(text: string): Buffer {
  const field = (number: number, content: string) => {
    const bytes = Buffer.from(content)
    const low = bytes.length > 127 ? [(bytes.length & 127) | 128, bytes.length >> 7] : [bytes.length]
    return Buffer.concat([Buffer.from([(number << 3) | 2, ...low]), bytes])
  }
  return Buffer.concat([field(1, text), field(2, 'behind it')])
}

/** Throws when a length does not fit. */
function decoded(message: Buffer): string[] {
  const fields: string[] = []
  for (let at = 0; at < message.length; ) {
    const [tag = 0, first = 0, second = 0] = message.subarray(at)
    if (tag !== ((fields.length + 1) << 3) + 2) throw new Error('the message is torn')
    const length = first > 127 ? (first & 127) | (second << 7) : first
    const start = at + (first > 127 ? 3 : 2)
    fields.push(message.toString('utf8', start, start + length))
    at = start + length
  }
  return fields
}

const bearer = (call: { readonly metadata: grpc.Metadata }) => String(call.metadata.get('authorization')[0]).slice(7)

const handlers: Handlers = {
  unary(call, done) {
    done(null, encoded(bearer(call)))
  },
  collect(call, done) {
    call.resume().on('end', () => done(null, encoded(bearer(call))))
  },
  repeat(call) {
    for (let i = 0; i < 50; i++) call.write(encoded(`${i} ${bearer(call)}`))
    call.end()
  },
  converse(call) {
    call.on('data', (message: Buffer) => {
      const length = Number(message)
      call.write(encoded(length === 0 ? bearer(call) : bearer(call).slice(0, length)))
      // What the sandbox gets last ends with the beginning of the value, right before the next prefix.
      call.write(Buffer.from(bearer(call).slice(0, length === 0 ? 4 : length)))
    })
    call.on('end', () => call.end())
  },
}

beforeAll(async () => {
  forge = await CertificateForge.create()
  server = await GrpcServer.start(forge, handlers)
  rig = await Rig.start({ env: { COATCHECK_UPSTREAM_EXTRACA: forge.caFile }, ports: [server.port] })
  for (const [name, value] of Object.entries(values)) {
    const input = { name, value: SecretValue.fromText(value), hosts: ['api.test'] }
    placeholders[name] = (await rig.app.data.secrets.create(rig.principal, input)).secret.placeholder
  }
  await rig.app.data.sandboxes.setMounts(rig.principal, 'box', { OPENAI_API_KEY: 'openai', S: 'short', L: 'long' })
})
beforeEach(() => {
  client = GrpcClient.through(rig, server.port)
})
afterEach(() => client.close())
afterAll(async () => {
  server.stop()
  await rig.stop()
  await forge.remove()
})

/** Keeps what the sandbox saw, for the search for the value. */
function read(message: Buffer): string[] {
  rig.seen.push(message)
  return decoded(message)
}

describe.each(['short', 'long'] as const)('a value that is %s', (name) => {
  const value = values[name]
  const credential = () => metadata({ authorization: `Bearer ${placeholders[name]}` })
  const shown = () => (placeholders[name] as string).slice(0, value.length).padEnd(value.length)
  afterAll(() => expect(leaksIn(Buffer.concat(rig.seen), value)).toEqual([]))

  it('is replaced in the answer to a unary call', async () => {
    const { message } = await client.unary(Buffer.from('x'), credential())
    expect(read(message)).toEqual([shown(), 'behind it'])
  })

  it('is replaced in the answer to a stream from the sandbox', async () => {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    const call = client.collect(credential(), (error, message) => {
      if (error === null && message !== undefined) resolve(message)
      else reject(error ?? new Error('no message'))
    })
    call.write(Buffer.from('one'))
    call.end()
    expect(read(await promise)).toEqual([shown(), 'behind it'])
  })

  it('is replaced in every message of a stream to the sandbox', async () => {
    const call = client.repeat(Buffer.from('x'), credential())
    const received: string[][] = []
    call.on('data', (message: Buffer) => received.push(read(message)))
    const [status] = (await once(call, 'status')) as [grpc.StatusObject]
    expect(status.code).toBe(grpc.status.OK)
    expect(received).toEqual(Array.from({ length: 50 }, (_none, i) => [`${i} ${shown()}`, 'behind it']))
  })

  it('is replaced in a stream both ways, and messages that end in what begins it do not wait for the next', async () => {
    const call = client.converse(credential())
    const answers: Buffer[] = []
    call.on('data', (message: Buffer) => answers.push(message))
    // One call goes out only after both messages to the one before are there.
    for (const length of [1, 2, 5, value.length - 1, 0]) {
      answers.length = 0
      call.write(Buffer.from(String(length)))
      while (answers.length < 2) await once(call, 'data')
      const [whole, part] = answers as [Buffer, Buffer]
      expect(part.toString()).toBe(value.slice(0, length === 0 ? 4 : length))
      if (length === 0) expect(read(whole)).toEqual([shown(), 'behind it'])
      else expect(decoded(whole)).toEqual([value.slice(0, length), 'behind it'])
    }
    call.end()
    const [status] = (await once(call, 'status')) as [grpc.StatusObject]
    expect(status.code).toBe(grpc.status.OK)
  })
})
