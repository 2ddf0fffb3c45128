/** A verified TLS connection to a target through the proxy, as the clients of the bench that are written in Node open it. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import tls from 'node:tls'

export interface TunnelOptions {
  /** `host:port`. */
  readonly target: string
  /** File of who is trusted. */
  readonly ca: string
  /** `address:port`. */
  readonly proxy: string
  /** Field of the CONNECT. */
  readonly identity: string
  readonly protocol: 'h2' | 'http/1.1'
}

/** Throws when the proxy refuses, or another protocol is agreed on. */
export async function openTunnel({ target, ca, proxy, identity, protocol }: TunnelOptions): Promise<tls.TLSSocket> {
  const [address = '', port = ''] = proxy.split(':')
  const plain = connect({ host: address, port: Number(port), noDelay: true })
  await once(plain, 'connect')
  plain.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${identity}\r\n\r\n`)
  let answer = ''
  while (!answer.includes('\r\n\r\n')) answer += String((await once(plain, 'data'))[0])
  plain.pause()
  if (!answer.startsWith('HTTP/1.1 200')) throw new Error(`CONNECT: ${answer.split('\r\n')[0]}`)
  const [servername = ''] = target.split(':')
  const secure = tls.connect({ socket: plain, servername, ca: readFileSync(ca), ALPNProtocols: [protocol] })
  await once(secure, 'secureConnect')
  if (secure.alpnProtocol !== protocol) throw new Error(`${String(secure.alpnProtocol)} was agreed on`)
  return secure
}
