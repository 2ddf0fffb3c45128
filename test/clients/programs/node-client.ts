/** Sends one request with the client named by the first argument to the URL in the second, and prints the answer's body. */
import http from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import tls from 'node:tls'
import axios from 'axios'
import { EnvHttpProxyAgent, ProxyAgent, request, fetch as undiciFetch } from 'undici'
import { WebSocket } from 'ws'

const [client = '', url = ''] = process.argv.slice(2)
const { API_KEY, HTTPS_PROXY = '' } = process.env
const headers = { authorization: `Bearer ${API_KEY}` }

/** A tunnel made by hand, as libraries for older Nodes do. */
class TunnelAgent extends https.Agent {
  override createConnection(
    options: https.RequestOptions,
    done: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    const proxy = new URL(HTTPS_PROXY)
    const credentials = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64')
    const authority = `${options.host}:${options.port}`
    const connect = http.request({
      host: proxy.hostname,
      port: proxy.port,
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, 'proxy-authorization': `Basic ${credentials}` },
    })
    connect.once('connect', (_answer, socket) => done(null, tls.connect({ socket, servername: options.host ?? '' })))
    connect.end()
  }
}

function get(agent?: https.Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const given = { headers, ...(agent && { agent }) }
    const pending = https.get(url, given, (answer) => void text(answer).then(resolve, reject))
    pending.once('error', reject)
  })
}

/** The whole https URL as the target of a request to the proxy, without a tunnel, as axios sent it for years. */
function getAbsolute(): Promise<string> {
  const proxy = new URL(HTTPS_PROXY)
  const credentials = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64')
  return new Promise((resolve, reject) => {
    const pending = http.get(
      {
        host: proxy.hostname,
        port: proxy.port,
        path: url,
        headers: { ...headers, host: new URL(url).host, 'proxy-authorization': `Basic ${credentials}` },
      },
      (answer) => void text(answer).then(resolve, reject),
    )
    pending.once('error', reject)
  })
}

/** Says one thing and resolves with what is said back. */
function webSocket(agent: https.Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url.replace('https:', 'wss:'), { headers, agent })
    socket.once('error', reject)
    socket.once('open', () => socket.send('hello'))
    socket.once('message', (data: Buffer) => {
      socket.close()
      resolve(data.toString())
    })
  })
}

const clients: Readonly<Record<string, () => Promise<string>>> = {
  fetch: async () => (await fetch(url, { headers })).text(),
  'https.get': () => get(),
  'https.get with a CONNECT agent': () => get(new TunnelAgent()),
  'https in absolute form': () => getAbsolute(),
  'undici fetch': async () => (await undiciFetch(url, { headers })).text(),
  'undici request': async () => (await request(url, { headers })).body.text(),
  'undici ProxyAgent': async () =>
    (await request(url, { headers, dispatcher: new ProxyAgent(HTTPS_PROXY) })).body.text(),
  'undici EnvHttpProxyAgent': async () =>
    (await request(url, { headers, dispatcher: new EnvHttpProxyAgent() })).body.text(),
  axios: async () => JSON.stringify((await axios.get<unknown>(url, { headers })).data),
  'axios on fetch': async () => JSON.stringify((await axios.get<unknown>(url, { headers, adapter: 'fetch' })).data),
  'axios post': async () => JSON.stringify((await axios.post<unknown>(url, { a: 1 }, { headers })).data),
  'ws with https.globalAgent': () => webSocket(https.globalAgent),
  'ws with a proxyEnv agent': () => webSocket(new https.Agent({ proxyEnv: process.env })),
  'ws with a CONNECT agent': () => webSocket(new TunnelAgent()),
}

const send = clients[client]
if (send === undefined) throw new Error(`no client ${client}`)
process.stdout.write(await send())
process.exit()
