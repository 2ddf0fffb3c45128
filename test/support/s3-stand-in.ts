/** As much of S3 as a client needs to put, get, list and upload in parts, in memory; each request is first checked. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

/** Null when the request is signed as it should be, else what is wrong. */
export type CheckSignature = (request: IncomingMessage) => string | null

interface Incoming {
  readonly method: string
  /** Decoded, without the bucket. */
  readonly key: string
  readonly query: URLSearchParams
  readonly range: string | undefined
  readonly body: Buffer
}

export class S3StandIn {
  readonly objects = new Map<string, Buffer>()
  readonly faults: string[] = []
  requests = 0
  readonly #parts = new Map<string, Buffer>()
  readonly #check: CheckSignature

  constructor(check: CheckSignature) {
    this.#check = check
  }

  readonly listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.once('end', () => {
      this.requests += 1
      const fault = this.#check(request)
      if (fault === null) this.#answer(read(request, Buffer.concat(chunks)), response)
      else {
        this.faults.push(`${request.method} ${request.url}: ${fault}`)
        response.writeHead(403).end(xml('Error', '<Code>SignatureDoesNotMatch</Code>'))
      }
    })
  }

  #answer({ method, key, query, range, body }: Incoming, response: ServerResponse): void {
    const part = query.get('partNumber')
    if (method === 'POST' && query.has('uploads')) {
      response.end(xml('InitiateMultipartUploadResult', '<UploadId>upload</UploadId>'))
    } else if (method === 'POST') {
      this.objects.set(key, Buffer.concat([...this.#parts.values()]))
      response.end(xml('CompleteMultipartUploadResult', `<Key>${key}</Key>`))
    } else if (method === 'PUT') {
      if (part === null) this.objects.set(key, body)
      else this.#parts.set(part, body)
      response.writeHead(200, { etag: '"e"' }).end()
    } else if (key === '') response.end(this.#list(query.get('prefix') ?? ''))
    else this.#give(method, this.objects.get(key), range, response)
  }

  #list(prefix: string): string {
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix))
    const contents = keys.map((key) => `<Contents><Key>${key.replaceAll('&', '&amp;')}</Key></Contents>`)
    return xml('ListBucketResult', contents.join(''))
  }

  #give(method: string, object: Buffer | undefined, range: string | undefined, response: ServerResponse): void {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []
    if (object === undefined) response.writeHead(404).end(xml('Error', '<Code>NoSuchKey</Code>'))
    else if (from === undefined || to === undefined) {
      response.writeHead(200, { 'content-length': object.length }).end(method === 'HEAD' ? undefined : object)
    } else {
      const slice = object.subarray(Number(from), Number(to) + 1)
      const headers = { 'content-length': slice.length, 'content-range': `bytes ${from}-${to}/${object.length}` }
      response.writeHead(206, headers).end(slice)
    }
  }
}

function read(request: IncomingMessage, body: Buffer): Incoming {
  const [path = '', query = ''] = (request.url ?? '').split('?')
  const key = decodeURIComponent(path.replace(/^\/bucket\/?/, ''))
  const coded = (request.headers['content-encoding'] ?? '').includes('aws-chunked')
  const { method = '' } = request
  return {
    method,
    key,
    query: new URLSearchParams(query),
    range: request.headers.range,
    body: coded ? plain(body) : body,
  }
}

/** What is in the chunks; signatures and trailing fields are for the one who checks. */
function plain(body: Buffer): Buffer {
  const data: Buffer[] = []
  for (let at = 0; ; ) {
    const end = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.toString('latin1', at, end), 16)
    if (!(size > 0)) return Buffer.concat(data)
    data.push(body.subarray(end + 2, end + 2 + size))
    at = end + size + 4
  }
}

function xml(name: string, content: string): string {
  return `<?xml version="1.0"?><${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${content}</${name}>`
}
