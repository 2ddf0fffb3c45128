/**
 * A body in AWS's signed chunks arrives with every chunk signed by the real pair, framed and as long as it was sent; one
 * that was changed on the way is cut where it was changed.
 */
import http from 'node:http'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type AwsRequest, chunked, signatureOf } from '../support/aws-reference.ts'
import { AwsRig, timeOf } from '../support/aws-rig.ts'
import { ALLOWED } from '../support/rig.ts'
import { answerTo, openTls } from '../support/sandbox-client.ts'

const CHUNKS = [Buffer.alloc(70_000, 'a'), Buffer.alloc(8_192, 'b'), Buffer.from('end')]
const TRAILING = 'x-amz-checksum-crc32c:sOO8/Q=='

let aws: AwsRig
beforeAll(async () => {
  aws = await AwsRig.start()
})
afterEach(() => aws.clear())
afterAll(async () => {
  await aws.stop()
})

function upload(chunks: readonly Buffer[], trailing?: string): { readonly one: AwsRequest; readonly body: Buffer } {
  const payload = `STREAMING-AWS4-HMAC-SHA256-PAYLOAD${trailing === undefined ? '' : '-TRAILER'}`
  const size = String(chunks.reduce((sum, each) => sum + each.length, 0))
  const fields = ['content-encoding', 'aws-chunked', 'x-amz-decoded-content-length', size]
  const one = aws.request({ method: 'PUT', payload }, fields)
  const { secretAccessKey } = aws.held
  const body = chunked(chunks, signatureOf(one, secretAccessKey, timeOf(one)), secretAccessKey, timeOf(one), trailing)
  return { one, body }
}

const resigned = (one: AwsRequest, chunks: readonly Buffer[], trailing?: string): Buffer =>
  chunked(chunks, aws.seed, aws.real.secretAccessKey, timeOf(one), trailing)

it.each([undefined, TRAILING])(
  'arrives with the whole chain of chunk signatures made again, not only the head (trailer: %s)',
  async (trailing) => {
    const { one, body } = upload(CHUNKS, trailing)
    expect((await aws.send(one, { body })).status).toBe(200)
    const { came, expected } = aws.authorizations(one.payload)
    expect(came).toBe(expected)
    expect(aws.rig.upstream.last.body).toEqual(resigned(one, CHUNKS, trailing))
    expect(aws.rig.upstream.last.headers['content-length']).toBe(String(body.length))
  },
)

it('arrives chunked when it was sent chunked, in however many pieces', async () => {
  const chunks = [Buffer.alloc(300, 'x'), Buffer.alloc(5, 'y')]
  const { one, body } = upload(chunks, TRAILING)
  const socket = await openTls(aws.rig, ALLOWED, { sandbox: aws.box })
  const headers = ['Host', aws.hostField, ...aws.signedFields(one), 'Transfer-Encoding', 'chunked']
  const pending = http.request({ method: 'PUT', path: one.target, headers, createConnection: () => socket })
  for (let at = 0; at < body.length - 1; at += 97) {
    pending.write(body.subarray(at, Math.min(body.length - 1, at + 97)))
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect((await answerTo(pending, body.subarray(-1))).status).toBe(200)
  expect(aws.rig.upstream.last.body).toEqual(resigned(one, chunks, TRAILING))
  expect(aws.rig.upstream.last.headers['transfer-encoding']).toBe('chunked')
})

it('is cut at a chunk that was changed, so that the upstream cannot take it for whole', async () => {
  aws.rig.upstream.answerWith(() => undefined)
  const { one, body } = upload(CHUNKS)
  body.write('X', body.indexOf('bbbb'))
  const answer = await aws.send(one, { body })
  expect([answer.status, answer.error?.code]).toEqual([403, 'signature_invalid'])
  expect(aws.rig.upstream.received.includes('bbbb')).toBe(false)
})
