/**
 * Everything that a program does with AWS's own S3 client: DIR UPSTREAM. It is configured by its environment alone, but for
 * the endpoint and for an agent that reads the proxy from the environment. Prints one JSON document of what it saw.
 */

import https from 'node:https'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Readable } from 'node:stream'

const [dir = '', endpoint = ''] = process.argv.slice(2)
const load = createRequire(join(dir, 'program.cjs'))

interface Output {
  readonly Body?: { transformToString(): Promise<string> }
  readonly UploadId?: string
  readonly ETag?: string
  readonly Contents?: readonly { readonly Key: string }[]
  readonly ContentLength?: number
  readonly ContentRange?: string
}
type Command = new (input: object) => object
interface S3 {
  readonly S3Client: new (config: object) => { send(command: object): Promise<Output> }
  readonly PutObjectCommand: Command
  readonly GetObjectCommand: Command
  readonly HeadObjectCommand: Command
  readonly ListObjectsV2Command: Command
  readonly CreateMultipartUploadCommand: Command
  readonly UploadPartCommand: Command
  readonly CompleteMultipartUploadCommand: Command
}

const s3 = load('@aws-sdk/client-s3') as S3
const { getSignedUrl } = load('@aws-sdk/s3-request-presigner') as {
  getSignedUrl(this: void, client: object, command: object, options: object): Promise<string>
}
const httpsAgent = new https.Agent({ proxyEnv: process.env, keepAlive: true })
const client = new s3.S3Client({
  endpoint,
  region: 'eu-central-1',
  forcePathStyle: true,
  requestHandler: { httpsAgent },
})
const Bucket = 'bucket'
const KEYS = ['plain.txt', 'a b/ü+%25 (1)!*.txt', 'a%2Fb//c=d&e', "it's~here"]

const text = async (output: Output): Promise<string> => (await output.Body?.transformToString()) ?? ''

async function presignedGet(Key: string): Promise<string> {
  const url = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key }), { expiresIn: 600 })
  return await new Promise((resolve, reject) => {
    const request = https.get(url, { agent: httpsAgent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('end', () => resolve(`${response.statusCode} ${Buffer.concat(chunks).toString()}`))
    })
    request.once('error', reject)
  })
}

async function multipart(Key: string, parts: readonly Buffer[]): Promise<number | undefined> {
  const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand({ Bucket, Key }))
  const Parts: object[] = []
  for (const [i, Body] of parts.entries()) {
    const PartNumber = i + 1
    const { ETag } = await client.send(new s3.UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
    Parts.push({ ETag, PartNumber })
  }
  await client.send(new s3.CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
  return (await client.send(new s3.HeadObjectCommand({ Bucket, Key }))).ContentLength
}

const got: string[] = []
for (const Key of KEYS) {
  await client.send(new s3.PutObjectCommand({ Bucket, Key, Body: `body of ${Key}`, Metadata: { some: 'meta  data' } }))
  got.push(await text(await client.send(new s3.GetObjectCommand({ Bucket, Key }))))
}
// A stream of unknown digest goes in aws-chunked with a trailing checksum.
const pieces = [Buffer.alloc(100_000, 's'), Buffer.alloc(30_000, 't')]
await client.send(
  new s3.PutObjectCommand({ Bucket, Key: 'stream', Body: Readable.from(pieces), ContentLength: 130_000 }),
)
const range = await client.send(new s3.GetObjectCommand({ Bucket, Key: 'stream', Range: 'bytes=99998-100001' }))
const listed = await client.send(new s3.ListObjectsV2Command({ Bucket, Prefix: 'a', Delimiter: '|' }))
const document = {
  keys: KEYS,
  got,
  range: [range.ContentRange, await text(range)],
  listed: listed.Contents?.map(({ Key }) => Key) ?? [],
  multipart: await multipart('large', [Buffer.alloc(5 * 1024 * 1024, 'm'), Buffer.from('rest')]),
  presigned: await Promise.all(KEYS.map(presignedGet)),
}
process.stdout.write(JSON.stringify(document))
httpsAgent.destroy()
