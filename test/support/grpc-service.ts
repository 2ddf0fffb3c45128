/**
 * A gRPC service of all four kinds, without a schema: messages are bytes. Both ends are the real @grpc/grpc-js, the
 * server over TLS with a forged certificate, the client through a proxy's CONNECT.
 */
import * as grpc from '@grpc/grpc-js'
import type { CertificateForge } from './certificate-forge.ts'
import type { Rig } from './rig.ts'

const asIs = (bytes: Buffer) => bytes

export const PATHS = {
  unary: '/test.Echo/Unary',
  collect: '/test.Echo/Collect',
  repeat: '/test.Echo/Repeat',
  converse: '/test.Echo/Converse',
} as const

function method(path: string, requestStream: boolean, responseStream: boolean): grpc.MethodDefinition<Buffer, Buffer> {
  const serializers = { requestSerialize: asIs, requestDeserialize: asIs }
  return { path, requestStream, responseStream, ...serializers, responseSerialize: asIs, responseDeserialize: asIs }
}

const definition = {
  unary: method(PATHS.unary, false, false),
  collect: method(PATHS.collect, true, false),
  repeat: method(PATHS.repeat, false, true),
  converse: method(PATHS.converse, true, true),
}

export interface Handlers extends grpc.UntypedServiceImplementation {
  unary: grpc.handleUnaryCall<Buffer, Buffer>
  collect: grpc.handleClientStreamingCall<Buffer, Buffer>
  repeat: grpc.handleServerStreamingCall<Buffer, Buffer>
  converse: grpc.handleBidiStreamingCall<Buffer, Buffer>
}

export class GrpcServer {
  readonly #server: grpc.Server
  readonly port: number

  private constructor(server: grpc.Server, port: number) {
    this.#server = server
    this.port = port
  }

  static async start(forge: CertificateForge, handlers: Handlers): Promise<GrpcServer> {
    const server = new grpc.Server({ 'grpc.max_receive_message_length': -1 })
    server.addService(definition, handlers)
    const { privateKey, chain } = forge.issue({ names: [['dns', 'api.test']] })
    const key = Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' }))
    const credentials = grpc.ServerCredentials.createSsl(null, [{ private_key: key, cert_chain: Buffer.from(chain) }])
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)))
    })
    return new GrpcServer(server, port)
  }

  stop(): void {
    this.#server.forceShutdown()
  }
}

/** Its channel goes out through the proxy, as the sandbox; the variables that say so are read when it is made. */
export class GrpcClient extends grpc.Client {
  static through(rig: Rig, port: number, options: grpc.ChannelOptions = {}): GrpcClient {
    const before = { ...process.env }
    process.env['grpc_proxy'] = rig.sandbox.proxyUrl
    for (const name of ['no_grpc_proxy', 'no_proxy']) delete process.env[name]
    try {
      const trust = Buffer.from(rig.app.data.authority.certificatePem)
      const unlimited = { 'grpc.max_receive_message_length': -1, 'grpc.enable_retries': 0 }
      return new GrpcClient(`api.test:${port}`, grpc.credentials.createSsl(trust), { ...unlimited, ...options })
    } finally {
      process.env = before
    }
  }

  /** One unary call, and what came with its answer. */
  async unary(message: Buffer, metadata = new grpc.Metadata(), options: grpc.CallOptions = {}) {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    const call = this.makeUnaryRequest(PATHS.unary, asIs, asIs, message, metadata, options, (error, value) => {
      if (error !== null) reject(error)
      else resolve(value ?? Buffer.alloc(0))
    })
    const head = new grpc.Metadata()
    call.on('metadata', (each: grpc.Metadata) => head.merge(each))
    const status = new Promise<grpc.StatusObject>((done) => call.once('status', done))
    return { message: await promise, head, trailers: (await status).metadata, call }
  }

  collect(metadata: grpc.Metadata, done: grpc.requestCallback<Buffer>): grpc.ClientWritableStream<Buffer> {
    return this.makeClientStreamRequest(PATHS.collect, asIs, asIs, metadata, done)
  }

  repeat(message: Buffer, metadata = new grpc.Metadata()): grpc.ClientReadableStream<Buffer> {
    return this.makeServerStreamRequest(PATHS.repeat, asIs, asIs, message, metadata)
  }

  converse(metadata = new grpc.Metadata()): grpc.ClientDuplexStream<Buffer, Buffer> {
    return this.makeBidiStreamRequest(PATHS.converse, asIs, asIs, metadata)
  }
}

export function metadata(fields: Readonly<Record<string, string>>): grpc.Metadata {
  const made = new grpc.Metadata()
  for (const [name, value] of Object.entries(fields)) made.set(name, value)
  return made
}
