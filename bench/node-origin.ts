/** The origin for machines without a C compiler: as loadgen/sink.c, a GET of /bytes/N gives N bytes, the rest "ok". */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import https from 'node:https'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '' },
    cert: { type: 'string', default: '' },
    key: { type: 'string', default: '' },
  },
})

const filler = Buffer.alloc(65_536, 'x')

async function sendBytes(response: ServerResponse, bytes: number): Promise<void> {
  response.setHeader('content-length', bytes)
  for (let sent = 0; sent < bytes; sent += filler.length) {
    if (!response.write(filler.subarray(0, bytes - sent))) await once(response, 'drain')
  }
  response.end()
}

const server = https.createServer({ cert: readFileSync(values.cert), key: readFileSync(values.key) })
server.on('request', (request, response) => {
  const wanted = /^\/bytes\/(\d+)$/.exec(request.url ?? '')
  if (wanted !== null) void sendBytes(response, Number(wanted[1])).catch(() => response.destroy())
  else request.resume().on('end', () => response.end('ok\n'))
})
server.keepAliveTimeout = 300_000
server.listen(Number(values.port), '127.0.0.1')
