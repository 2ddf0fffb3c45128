/** A rig whose upstream speaks WebSocket, with secrets that may go into messages; each test has a path of its own. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type RawData, WebSocket, WebSocketServer } from 'ws'
import { SecretValue } from '../../src/core/secret.ts'
import { closingEvent } from './audited.ts'
import { type ReadFrame, readFrames } from './frames.ts'
import { canary } from './leak-check.ts'
import { ALLOWED, Rig, type RigSandbox } from './rig.ts'
import { headText, openTls, openWire } from './sandbox-client.ts'
import { until } from './until.ts'
import type { Wire } from './wire.ts'

export interface Known {
  readonly placeholder: string
  readonly value: string
}

export interface Dialled {
  readonly client: WebSocket
  /** Messages as the upstream and as the sandbox got them. */
  readonly sent: string[]
  readonly got: string[]
}

export const HANDSHAKE: readonly string[] =
  'Connection|Upgrade|Upgrade|websocket|Sec-WebSocket-Version|13|Sec-WebSocket-Key|dGhlIHNhbXBsZSBub25jZQ=='.split('|')

/** The bytes of a message as `ws` gives them by default. */
const text = (data: RawData) => (data as Buffer).toString('utf8')

export class WebSocketRig {
  readonly rig: Rig
  readonly server = new WebSocketServer({ noServer: true, perMessageDeflate: true })
  /** Goes into messages; its value has what JSON escapes. */
  readonly bot: Known
  /** Goes into headers and messages. */
  readonly both: Known
  /** Has both mounted, and the rig's own secret, which goes into headers alone. */
  readonly box: RigSandbox
  path = '/ws-0'
  #paths = 0

  private constructor(rig: Rig, parts: Pick<WebSocketRig, 'bot' | 'both' | 'box'>) {
    this.rig = rig
    this.bot = parts.bot
    this.both = parts.both
    this.box = parts.box
    rig.upstream.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.server.handleUpgrade(request, socket, head, (each) => this.server.emit('connection', each, request))
    })
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<WebSocketRig> {
    const rig = await Rig.start({ env: { COATCHECK_LIMITS_BODYBYTES: '64KiB', ...env } })
    const bot = await known(rig, 'bot', ['websocket'], `${canary('bot')}"\\ü`)
    const both = await known(rig, 'both', ['websocket', 'credential-headers'], canary('both'))
    const box = await rig.sandboxWith('talker', { BOT: 'bot', BOTH: 'both', KEY: 'openai' })
    return new WebSocketRig(rig, { bot, both, box })
  }

  /** Before each test. */
  begin(): void {
    this.#paths += 1
    this.path = `/ws-${this.#paths}`
  }

  /** After each test: nothing is left open. */
  async clear(): Promise<void> {
    this.server.removeAllListeners('connection')
    this.rig.upstream.clear()
    await until(() => this.rig.upstream.sockets.size === 0)
  }

  /** A WebSocket through the proxy to an upstream that repeats what it gets. */
  async dial(
    headers: Readonly<Record<string, string>> = {},
    sandbox: RigSandbox = this.box,
    host = ALLOWED,
  ): Promise<Dialled> {
    const sent: string[] = []
    const got: string[] = []
    this.server.removeAllListeners('connection').on('connection', (socket) => {
      socket.on('message', (data, isBinary) => {
        sent.push(text(data))
        socket.send(data, { binary: isBinary })
      })
    })
    const socket = await openTls(this.rig, host, { sandbox })
    socket.on('data', (chunk: Buffer) => this.rig.seen.push(chunk))
    const url = `wss://${host}:${this.rig.upstream.port}${this.path}`
    const client = new WebSocket(url, { createConnection: () => socket, headers })
    client.on('message', (data) => got.push(text(data)))
    await new Promise((resolve, reject) => client.once('open', resolve).once('error', reject))
    return { client, sent, got }
  }

  async ended({ client }: Dialled) {
    client.close()
    return await closingEvent(this.rig, { path: this.path })
  }

  /** Both ends byte by byte, after a handshake that was agreed to. @param early bytes right behind the handshake. */
  async wires(early: Buffer = Buffer.alloc(0)): Promise<{ sandbox: Wire; upstream: Wire }> {
    const taken = new Promise<Wire>((resolve) => this.rig.upstream.takeRaw(resolve))
    const sandbox = await openWire(this.rig, { sandbox: this.box })
    sandbox.write(Buffer.concat([Buffer.from(headText(this.rig, `GET ${this.path}`, HANDSHAKE)), early]))
    const upstream = await taken
    await upstream.head()
    upstream.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    await sandbox.head()
    return { sandbox, upstream }
  }
}

/** What the upstream got and what came back. */
export async function say({ client, sent, got }: Dialled, message: string): Promise<{ sent: string; got: string }> {
  const count = got.length
  client.send(message)
  await until(() => got.length > count)
  return { sent: sent.at(-1) ?? '', got: got.at(-1) ?? '' }
}

/** Code and reason with which the sandbox's WebSocket ended. */
export function closeOf({ client }: Dialled): Promise<[number, string]> {
  return new Promise((resolve) => client.once('close', (code, reason) => resolve([code, reason.toString('utf8')])))
}

/** Frames that arrived, once the last of them is what is waited for: by default the end of a message. */
export async function framesAt(
  wire: Wire,
  complete: (last: ReadFrame) => boolean = ({ final }) => final,
): Promise<readonly ReadFrame[]> {
  return await until(() => {
    const frames = readFrames(wire.unread)
    const last = frames.at(-1)
    return last !== undefined && complete(last) ? frames : undefined
  })
}

async function known(rig: Rig, name: string, placements: readonly string[], value: string): Promise<Known> {
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name,
    value: SecretValue.fromText(value),
    hosts: [ALLOWED],
    placements,
  })
  return { placeholder: secret.placeholder, value }
}
