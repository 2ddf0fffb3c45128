/**
 * A client that knows of no proxy, after a firewall changed where its connection goes: it connects to the transparent
 * listener and says whatever it would have said to somebody else.
 */
import net, { type Socket } from 'node:net'
import type tls from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { Rig } from './rig.ts'
import { tlsOver } from './socks-client.ts'
import { Wire } from './wire.ts'

export type TransparentPort = 'transparent.listenTls' | 'transparent.listenHttp'

/** @param from the loopback address it comes from. */
export async function redirected(rig: Rig, port: TransparentPort, from = '127.0.0.1'): Promise<Wire> {
  const socket = net.connect({ port: rig.app.addressOf(port)?.port ?? 0, host: '127.0.0.1', localAddress: from })
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return new Wire(socket, (chunk) => rig.seen.push(chunk))
}

/** TLS with that server name, verified against the proxy's authority. */
export async function redirectedTls(
  rig: Rig,
  servername: string,
  options: { readonly from?: string; readonly tls?: tls.ConnectionOptions } = {},
): Promise<TLSSocket> {
  const wire = await redirected(rig, 'transparent.listenTls', options.from)
  return await tlsOver(rig, wire.socket as Socket, servername, options.tls)
}
