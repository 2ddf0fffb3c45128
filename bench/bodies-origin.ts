/** The origin of `bodies.ts`, over HTTP/2 with --h2, else over HTTP/1.1: answers with how many bytes it was sent, and 401 to a placeholder. */
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { parseArgs } from 'node:util'
import { MARKER } from '../src/core/placeholder.ts'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '' },
    cert: { type: 'string', default: '' },
    key: { type: 'string', default: '' },
    h2: { type: 'boolean', default: false },
  },
})

type Request = IncomingMessage | http2.Http2ServerRequest
type Response = ServerResponse | http2.Http2ServerResponse

function answer(request: Request, response: Response): void {
  if (request.headers.authorization?.includes(MARKER)) response.statusCode = 401
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  request.on('end', () => response.end(String(bytes)))
}

const pair = { cert: readFileSync(values.cert), key: readFileSync(values.key) }
const server = values.h2
  ? http2.createSecureServer(pair, answer)
  : https.createServer({ ...pair, keepAliveTimeout: 300_000 }, answer)
server.listen(Number(values.port), '127.0.0.1')
