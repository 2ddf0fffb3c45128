/** Answers that give back what came in: method, target, fields and body, in any encoding that a test asks for. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

export type Encode = (echo: Buffer) => Buffer

const asItIs: Encode = (echo) => echo

/** All of a request, as an `/anything` endpoint of a debugging service shows it. */
export function echoOf(request: IncomingMessage, body: Buffer): Buffer {
  const lines = [`${request.method ?? ''} ${request.url ?? ''}`]
  const { rawHeaders } = request
  for (let i = 0; i < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`)
  return Buffer.concat([Buffer.from(`${lines.join('\n')}\n\n`, 'latin1'), body])
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** What to do with the echo; by default it is the whole body, with its length. */
export type Respond = (response: ServerResponse, echo: Buffer, request: IncomingMessage) => void

const asBody: Respond = (response, echo) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': echo.length })
  response.end(echo)
}

export function reflect(encode: Encode = asItIs, respond: Respond = asBody): RequestListener {
  return (request, response) => {
    bodyOf(request).then(
      (body) => respond(response, encode(echoOf(request, body)), request),
      () => response.destroy(),
    )
  }
}

/** The value of a request's Bearer credentials, for upstreams that know where the secret is. */
export function bearerOf(request: IncomingMessage): string {
  return (request.headers.authorization ?? '').replace(/^Bearer /, '')
}
