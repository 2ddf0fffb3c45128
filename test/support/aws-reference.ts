/**
 * AWS Signature Version 4 written a second time, apart from the product and only for plain paths and queries: what a client
 * sends, and what a service that has the secret access key expects.
 */
import { createHash, createHmac } from 'node:crypto'

export interface Pair {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface AwsRequest {
  readonly method: string
  /** `/path?a=1&b=2`, the query already sorted and encoded. */
  readonly target: string
  /** Raw pairs; those in `signed` are signed. */
  readonly fields: readonly string[]
  /** Lower case, sorted. */
  readonly signed: readonly string[]
  /** What the canonical request has in the body's place. */
  readonly payload: string
}

export const REGION = 'eu-central-1'

export const sha256 = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** `20301231T235959Z`. */
export function amzDate(at = new Date()): string {
  return at.toISOString().replace(/[-:]|\.\d{3}/g, '')
}

export function scopeOf(time: string, service = 's3'): string {
  return `${time.slice(0, 8)}/${REGION}/${service}/aws4_request`
}

function signingKey(secret: string, scope: string): Buffer {
  return scope.split('/').reduce<Buffer>((key, part) => hmac(key, part), Buffer.from(`AWS4${secret}`))
}

export function signatureOf(request: AwsRequest, secret: string, time: string, service = 's3'): string {
  const [path = '', query = ''] = request.target.split('?')
  const values = (name: string) =>
    request.fields.filter((_text, i) => i % 2 === 1 && (request.fields[i - 1] as string).toLowerCase() === name)
  const headers = request.signed.map((name) => `${name}:${values(name).join(',')}\n`).join('')
  const canonical = [request.method, path, query, headers, request.signed.join(';'), request.payload].join('\n')
  const text = ['AWS4-HMAC-SHA256', time, scopeOf(time, service), sha256(canonical)].join('\n')
  return hmac(signingKey(secret, scopeOf(time, service)), text).toString('hex')
}

/** The Authorization field's value. */
export function authorize(request: AwsRequest, pair: Pair, time: string, service = 's3'): string {
  const credential = `Credential=${pair.accessKeyId}/${scopeOf(time, service)}`
  const signature = signatureOf(request, pair.secretAccessKey, time, service)
  return `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${request.signed.join(';')}, Signature=${signature}`
}

/** A target of a presigned request, without its signature or with it. */
export function presigned(request: AwsRequest, pair: Pair, time: string): string {
  const query = [
    'X-Amz-Algorithm=AWS4-HMAC-SHA256',
    `X-Amz-Credential=${encodeURIComponent(`${pair.accessKeyId}/${scopeOf(time)}`)}`,
    `X-Amz-Date=${time}`,
    'X-Amz-Expires=900',
    `X-Amz-SignedHeaders=${request.signed.join('%3B')}`,
  ].join('&')
  const target = `${request.target}?${query}`
  return `${target}&X-Amz-Signature=${signatureOf({ ...request, target }, pair.secretAccessKey, time)}`
}

/** A body in signed chunks, whose chain begins with the signature of the head; trailing fields when `trailing` is given. */
export function chunked(
  chunks: readonly Buffer[],
  seed: string,
  secret: string,
  time: string,
  trailing?: string,
): Buffer {
  const key = signingKey(secret, scopeOf(time))
  const parts: Buffer[] = []
  let last = seed
  const sign = (kind: string, lines: readonly string[]): string => {
    last = hmac(key, [`AWS4-HMAC-SHA256-${kind}`, time, scopeOf(time), last, ...lines].join('\n')).toString('hex')
    return last
  }
  for (const data of [...chunks, Buffer.alloc(0)]) {
    const signature = sign('PAYLOAD', [sha256(''), sha256(data)])
    parts.push(Buffer.from(`${data.length.toString(16)};chunk-signature=${signature}\r\n`), data)
    if (data.length > 0 || trailing === undefined) parts.push(Buffer.from('\r\n'))
  }
  if (trailing !== undefined) {
    parts.push(
      Buffer.from(`${trailing}\r\nx-amz-trailer-signature:${sign('TRAILER', [sha256(`${trailing}\n`)])}\r\n\r\n`),
    )
  }
  return Buffer.concat(parts)
}
