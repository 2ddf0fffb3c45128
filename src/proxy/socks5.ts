/**
 * The SOCKS5 port: CONNECT alone, by user and password (the sandbox's name and token), or by none when the port is bound
 * to one sandbox. After the reply it is a tunnel like any other: intercepted, and refusals explained in it.
 */
import type { AddressInfo, Socket } from 'node:net'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { uuidv7 } from '../core/id.ts'
import type { SandboxReader } from '../core/ports.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { ExchangeLogPorts } from './exchange-log.ts'
import { type Credentials, type IdentityRule, identifyBy } from './identify.ts'
import type { TunnelCall } from './message.ts'
import { readOpening } from './opening.ts'
import { recordRefusal } from './record-refusal.ts'
import {
  methodReply,
  NO_AUTHENTICATION,
  PASSWORD,
  passwordReply,
  readMethods,
  readPassword,
  readRequest,
  reply,
} from './socks5-messages.ts'
import { type StreamLimits, StreamListener } from './stream-listener.ts'
import type { TunnelServer } from './tunnel-server.ts'

export interface SocksPorts extends ExchangeLogPorts {
  readonly sandboxes: SandboxReader
  readonly identity: IdentityRule
  readonly limits: StreamLimits
}

export class SocksListener {
  readonly #ports: SocksPorts
  readonly #listener: StreamListener

  constructor(ports: SocksPorts, tunnels: TunnelServer) {
    this.#ports = ports
    this.#listener = new StreamListener(ports.limits, (socket) => this.#greet(socket), tunnels)
  }

  listen(host: string, port: number): Promise<AddressInfo> {
    return this.#listener.listen(host, port)
  }

  close(graceMs: number): Promise<void> {
    return this.#listener.close(graceMs)
  }

  async #greet(socket: Socket): Promise<TunnelCall | null> {
    try {
      const sandbox = await this.#identify(socket)
      return sandbox === null ? null : await this.#request(socket, sandbox)
    } catch {
      // Bytes that are not SOCKS5 are no exchange and have no answer that their sender would understand.
      socket.destroy()
      return null
    }
  }

  /** Null when the client was told that it is nobody. */
  async #identify(socket: Socket): Promise<SandboxIdentity | null> {
    const offered = await readOpening(socket, readMethods)
    const method = this.#choose(offered)
    socket.write(methodReply(method))
    if (method === null) return null
    const credentials = method === PASSWORD ? await readOpening(socket, readPassword) : undefined
    const sandbox = await this.#known(credentials)
    if (method === PASSWORD) socket.write(passwordReply(sandbox !== null))
    return sandbox
  }

  #choose(offered: readonly number[]): number | null {
    const acceptable = this.#ports.identity.kind === 'sandbox' ? [NO_AUTHENTICATION, PASSWORD] : [PASSWORD]
    return acceptable.find((method) => offered.includes(method)) ?? null
  }

  async #known(credentials: Credentials | undefined): Promise<SandboxIdentity | null> {
    const { sandboxes, identity, clock } = this.#ports
    try {
      return await identifyBy(sandboxes, identity, credentials)
    } catch (error) {
      recordRefusal(this.#ports, { id: uuidv7(clock()), method: 'CONNECT', sandbox: null }, error)
      return null
    }
  }

  async #request(socket: Socket, sandbox: SandboxIdentity): Promise<TunnelCall | null> {
    const { command, authority } = await readOpening(socket, readRequest)
    const id = uuidv7(this.#ports.clock())
    const refuse = (error: CoatcheckError) => {
      if (socket.writable) socket.end(reply(error))
      else socket.destroy()
    }
    try {
      if (command !== 'CONNECT') throw unsupported(command)
      const accept = () => void socket.write(reply(null))
      return { id, sandbox, authority: authority(), socket, head: Buffer.alloc(0), accept, refuse }
    } catch (thrown) {
      const error = asCoatcheckError(thrown)
      refuse(error)
      recordRefusal(this.#ports, { id, method: command, sandbox }, error)
      return null
    }
  }
}

function unsupported(command: string): CoatcheckError {
  return new CoatcheckError('method_not_allowed', `SOCKS ${command} is not offered.`, 'Use CONNECT, over TCP.')
}
