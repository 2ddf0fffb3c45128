/** A SOCKS5 client that writes its own bytes: methods, credentials, commands and addresses of every kind. */
import net, { type Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import type { Rig, RigSandbox } from './rig.ts'
import { Wire } from './wire.ts'

/** A connection to the SOCKS port. What comes back is added to what the sandbox saw. */
export async function openSocks(rig: Rig): Promise<Wire> {
  const socket = net.connect(rig.app.addressOf('socks.listen')?.port ?? 0, '127.0.0.1')
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return new Wire(socket, (chunk) => rig.seen.push(chunk))
}

export function passwordMessage({ name, token }: Pick<RigSandbox, 'name' | 'token'>): Buffer {
  return Buffer.concat([Buffer.from([1]), counted(name), counted(token)])
}

/** CONNECT, or another command, to a name, an IPv4 or an IPv6 address (16 bytes as hex). */
export function requestMessage(host: string | Buffer, port: number, command = 1): Buffer {
  const address =
    typeof host === 'string'
      ? Buffer.concat([Buffer.from([3]), counted(host)])
      : Buffer.concat([Buffer.from([host.length === 4 ? 1 : 4]), host])
  return Buffer.concat([Buffer.from([5, command, 0]), address, Buffer.from([port >> 8, port & 0xff])])
}

/** Method and credentials are settled; throws when they are not accepted. */
export async function identifiedSocks(rig: Rig, sandbox: RigSandbox = rig.sandbox): Promise<Wire> {
  const wire = await openSocks(rig)
  wire.write(Buffer.from([5, 1, 2]))
  await expectBytes(wire, [5, 2])
  wire.write(passwordMessage(sandbox))
  await expectBytes(wire, [1, 0])
  return wire
}

/** The code of the reply. */
export async function replyCode(wire: Wire): Promise<number> {
  const reply = await wire.take(10)
  return reply[1] as number
}

/** A tunnel through SOCKS with TLS inside. */
export async function openSocksTls(rig: Rig, host: string, sandbox?: RigSandbox): Promise<TLSSocket> {
  const wire = await identifiedSocks(rig, sandbox)
  wire.write(requestMessage(host, rig.upstream.port))
  const code = await replyCode(wire)
  if (code !== 0) throw new Error(`SOCKS replied ${code}`)
  return await tlsOver(rig, wire.socket as Socket, host)
}

/** TLS to a host on a connection that is already open, verified against the proxy's authority. */
export function tlsOver(
  rig: Rig,
  socket: Socket,
  host: string,
  options: tls.ConnectionOptions = {},
): Promise<TLSSocket> {
  socket.removeAllListeners('data')
  return new Promise((resolve, reject) => {
    const secure = tls.connect({ socket, ca: rig.app.data.authority.certificatePem, servername: host, ...options })
    secure.on('data', (chunk: Buffer) => rig.seen.push(chunk))
    secure.once('secureConnect', () => resolve(secure))
    secure.once('error', reject)
    secure.once('close', () => reject(new Error('closed during the handshake')))
  })
}

async function expectBytes(wire: Wire, wanted: readonly number[]): Promise<void> {
  const got = [...(await wire.take(wanted.length))]
  if (got.join() !== wanted.join()) throw new Error(`SOCKS answered ${got.join()} in place of ${wanted.join()}`)
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}
