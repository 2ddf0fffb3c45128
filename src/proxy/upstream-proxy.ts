/**
 * Chaining to the next proxy (`upstream.proxy`): HTTP CONNECT (RFC 9110 9.3.6) or SOCKS5 (RFC 1928, RFC 1929). It gets a
 * blind tunnel: TLS to the upstream is verified through it, so it sees no value on https.
 */
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import net, { type Socket } from 'node:net'
import { SocksClient } from 'socks'
import { CoatcheckError } from '../core/errors.ts'
import { formatAuthority } from '../core/host.ts'
import type { Destination } from './message.ts'

function refused(cause: unknown): CoatcheckError {
  return new CoatcheckError(
    'upstream_unreachable',
    'The next proxy did not open a tunnel to the destination.',
    'Check upstream.proxy and whether that proxy allows the destination.',
    { cause },
  )
}

/** A connected socket to the destination. Throws `upstream_unreachable`. */
export async function openThroughProxy(proxy: URL, destination: Destination, signal: AbortSignal): Promise<Socket> {
  try {
    return await (proxy.protocol.startsWith('socks') ? socksConnect : httpConnect)(proxy, destination, signal)
  } catch (cause) {
    throw refused(cause)
  }
}

function credentials(proxy: URL): { user: string; password: string } | null {
  if (proxy.username === '') return null
  return { user: decodeURIComponent(proxy.username), password: decodeURIComponent(proxy.password) }
}

function httpConnect(proxy: URL, { host, port }: Destination, signal: AbortSignal): Promise<Socket> {
  const authority = formatAuthority(host, port)
  const login = credentials(proxy)
  const basic = login && `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`
  return new Promise((resolve, reject) => {
    const request = (proxy.protocol === 'https:' ? https : http).request({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port === '' ? (proxy.protocol === 'https:' ? 443 : 80) : Number(proxy.port),
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...(basic === null ? {} : { 'proxy-authorization': basic }) },
      agent: false,
      signal,
    })
    request.once('error', reject)
    request.once('response', (response) => {
      response.destroy()
      reject(new Error(`the next proxy answered ${response.statusCode}`))
    })
    request.once('connect', (response, socket, head) => {
      if (response.statusCode !== 200 || head.length > 0) {
        socket.destroy()
        reject(new Error(`the next proxy answered ${response.statusCode}`))
        return
      }
      socket.removeAllListeners('error')
      resolve(socket)
    })
    request.end()
  })
}

async function socksConnect(proxy: URL, { host, port }: Destination, signal: AbortSignal): Promise<Socket> {
  const login = credentials(proxy)
  const address = {
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port === '' ? 1080 : Number(proxy.port),
  }
  // Dialled here, because the client would keep its own socket beyond the deadline.
  const socket = net.connect({ ...address, noDelay: true })
  const abort = () => socket.destroy(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await once(socket, 'connect')
    const client = new SocksClient({
      command: 'connect',
      proxy: { ...address, type: 5, ...(login === null ? {} : { userId: login.user, password: login.password }) },
      destination: { host, port },
    })
    const established = once(client, 'established')
    client.connect(socket)
    await established
    return socket.resume().pause()
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
