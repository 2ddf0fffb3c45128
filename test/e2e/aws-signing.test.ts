/**
 * A secret of type aws signs requests. The sandbox holds a placeholder pair; what it signs with it arrives signed with the
 * real pair, in header and query form; what it did not sign so is refused, and nothing is dialled.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { type AwsRequest, amzDate, authorize, presigned, scopeOf, sha256 } from '../support/aws-reference.ts'
import { AwsRig, timeOf } from '../support/aws-rig.ts'
import { H2Sandbox } from '../support/h2-sandbox.ts'
import { canary } from '../support/leak-check.ts'
import { OTHER } from '../support/rig.ts'
import { headText, openWire, send } from '../support/sandbox-client.ts'
import { valuesOf } from '../support/wire.ts'

let aws: AwsRig
beforeAll(async () => {
  aws = await AwsRig.start()
})
afterEach(() => aws.clear())
afterAll(async () => {
  await aws.stop()
})

function expectSignedForReal(payload = sha256(''), service = 's3'): void {
  const { came, expected } = aws.authorizations(payload, service)
  expect(came).toBe(expected)
  expect(aws.rig.upstream.received.toString('latin1')).not.toContain(aws.held.accessKeyId)
}

describe('a signed request', () => {
  it('arrives signed with the real pair, and is recorded first as a release by signature', async () => {
    expect((await aws.send(aws.request())).status).toBe(200)
    expectSignedForReal()
    const { exchange, release } = await aws.lastEvents()
    expect(exchange).toMatchObject({ decision: 'released' })
    expect(release?.secrets).toMatchObject([{ name: 'aws-pair', version: 1, placement: 'aws-sigv4' }])
  })

  it('keeps a path with %2F, and every field that it signed', async () => {
    const one = aws.request({ target: '/bucket/a%2Fb%20c' }, ['accept-encoding', 'gzip', 'x-amz-meta-a', 'one'])
    expect((await aws.send(one)).status).toBe(200)
    expect(aws.rig.upstream.last.target).toBe('/bucket/a%2Fb%20c')
    expect(aws.rig.upstream.last.headers['accept-encoding']).toBe('gzip')
    expectSignedForReal()
  })

  it('goes together with a placeholder in another field, which changes what the client signed', async () => {
    const one = aws.request({}, ['x-api-key', aws.rig.secret.placeholder, 'accept-encoding', 'gzip'])
    expect((await aws.send(one)).status).toBe(200)
    expect(aws.rig.upstream.last.headers['x-api-key']).toBe(aws.rig.value)
    expect(aws.rig.upstream.last.headers['accept-encoding']).toBe('identity')
    expectSignedForReal()
  })

  it('whose body is signed by a digest that is not stated is read whole and signed so', async () => {
    const body = '{"TableName":"t"}'
    const fields = ['Host', aws.hostField, 'x-amz-date', amzDate()]
    const payload = sha256(body)
    const one: AwsRequest = { method: 'POST', target: '/', fields, signed: ['host', 'x-amz-date'], payload }
    expect((await aws.send(one, { body, service: 'dynamodb' })).status).toBe(200)
    expect(aws.rig.upstream.last.body.toString()).toBe(body)
    expectSignedForReal(payload, 'dynamodb')
    const refused = await aws.send(one, { body: body.replace('"t"', '"u"'), service: 'dynamodb' })
    expect(refused.error?.code).toBe('signature_invalid')
  })

  it('whose body is read whole gets its 100 Continue first, and one', async () => {
    const body = 'Action=GetCallerIdentity'
    const fields = ['Host', aws.hostField, 'x-amz-date', amzDate()]
    const one: AwsRequest = {
      method: 'POST',
      target: '/',
      fields,
      signed: ['host', 'x-amz-date'],
      payload: sha256(body),
    }
    const wire = await openWire(aws.rig, { sandbox: aws.box })
    const expecting = ['Content-Length', String(body.length), 'Expect', '100-continue']
    wire.write(headText(aws.rig, 'POST /', [...aws.signedFields(one, aws.held, 'sts'), ...expecting]))
    expect((await wire.message()).status).toBe(100)
    wire.write(body)
    expect((await wire.message()).status).toBe(200)
    expectSignedForReal(sha256(body), 'sts')
    wire.socket.destroy()
  })

  it('over HTTP/2 is signed again like any other', async () => {
    const one = aws.request({ target: '/bucket/a%2Fb?list-type=2&prefix=a%20b' })
    const h2 = await H2Sandbox.open(aws.rig, { sandbox: aws.box })
    const headers = aws.signedFields(one).map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text))
    expect((await h2.ask({ path: one.target, headers })).status).toBe(200)
    h2.close()
    expectSignedForReal()
  })

  it('has no placeholder put into its body, which is signed', async () => {
    const body = `{"key":"${aws.rig.secret.placeholder}"}`
    expect((await aws.send(aws.request({ method: 'PUT', payload: sha256(body) }), { body })).status).toBe(200)
    expect(aws.rig.upstream.last.body.toString()).toBe(body)
  })

  it('by a key of AWS itself, which is nobody’s placeholder, goes on as it is', async () => {
    const own = { accessKeyId: 'AKIAXCOATAAAAAAAAAAA', secretAccessKey: 'x'.repeat(40) }
    const one = aws.request()
    await aws.send(one, { pair: own })
    expect(aws.rig.upstream.last.headers.authorization).toBe(authorize(one, own, timeOf(one)))
    expect((await aws.lastEvents()).exchange).toMatchObject({ decision: 'passed' })
  })
})

describe('a presigned request', () => {
  it('arrives presigned with the real pair', async () => {
    const time = amzDate()
    const path = presigned(aws.open(), aws.held, time)
    expect((await send(aws.rig, { path, sandbox: aws.box })).status).toBe(200)
    expect(aws.rig.upstream.last.target).toBe(presigned(aws.open(), aws.real, time))
  })

  it('that was changed is refused', async () => {
    const path = presigned(aws.open(), aws.held, amzDate()).replace('Expires=900', 'Expires=901')
    const answer = await send(aws.rig, { path, sandbox: aws.box })
    expect([answer.status, answer.error?.code]).toEqual([403, 'signature_invalid'])
    expect(aws.rig.upstream.connections).toBe(0)
  })
})

describe('a request is refused, and nothing is dialled,', () => {
  afterEach(async () => {
    expect(aws.rig.upstream.connections).toBe(0)
    expect((await aws.lastEvents()).exchange).toMatchObject({ decision: 'refused' })
  })

  it('when it is signed with another secret access key', async () => {
    const answer = await aws.send(aws.request(), { pair: { ...aws.held, secretAccessKey: 'w'.repeat(40) } })
    expect([answer.status, answer.error?.code]).toEqual([403, 'signature_invalid'])
  })

  it('when a signed field was changed on the way', async () => {
    const one = aws.request({}, ['x-amz-acl', 'private'])
    const headers = aws.signedFields(one).map((text) => (text === 'private' ? 'public-read' : text))
    const answer = await send(aws.rig, { path: one.target, headers, sandbox: aws.box })
    expect(answer.error?.code).toBe('signature_invalid')
    expect(answer.error?.hint).toContain('clock')
  })

  it('when the pair is not mounted, or of nobody, alike', async () => {
    const one = aws.request()
    const nobody = await aws.send(one, { pair: { ...aws.held, accessKeyId: 'XCOATAAAAAAAAAAAAAAA' } })
    const foreign = await send(aws.rig, { path: one.target, headers: aws.signedFields(one) })
    expect(nobody.error).toMatchObject({ code: 'unknown_placeholder', message: foreign.error?.message })
  })

  it('when it goes to another host', async () => {
    const one = aws.request()
    const headers = aws.signedFields(one)
    const answer = await send(aws.rig, { path: one.target, headers, host: OTHER, sandbox: aws.box })
    expect(answer.error?.code).toBe('host_not_allowed')
  })

  it('when it is signed in another way', async () => {
    const headers = ['Authorization', `AWS ${aws.held.accessKeyId}:c2lnbmF0dXJl`]
    expect((await send(aws.rig, { headers, sandbox: aws.box })).error?.code).toBe('signature_invalid')
  })
})

describe('an answer', () => {
  it('that is a part of an object, or long, passes as it is, with its length', async () => {
    const object = Buffer.alloc(200_000, 'o')
    aws.rig.upstream.answerWith((incoming, response) => {
      const part = incoming.headers.range !== undefined
      response.writeHead(part ? 206 : 200, { 'content-length': part ? 10 : object.length })
      response.end(part ? object.subarray(0, 10) : object)
    })
    const part = await aws.send(aws.request({}, ['range', 'bytes=0-9']))
    expect([part.status, part.body.length]).toEqual([206, 10])
    expect(aws.rig.upstream.last.headers.range).toBe('bytes=0-9')
    const whole = await aws.send(aws.request())
    expect([whole.status, whole.body.length, whole.headers['content-length']]).toEqual([200, 200_000, '200000'])
  })
})

describe('with a session token', () => {
  const token = `${canary('token')}${'t/+='.repeat(20)}`
  beforeAll(async () => {
    const { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey } = aws.real
    const printed = { AccessKeyId, SecretAccessKey, SessionToken: token, Expiration: '2030-01-01T00:00:00Z' }
    const value = SecretValue.fromText(JSON.stringify(printed))
    await aws.rig.app.data.secrets.update(aws.rig.principal, 'aws-pair', { value })
  })

  it('the token is added and signed, one of the client’s is dropped, and a reflecting answer shows nothing real', async () => {
    aws.rig.upstream.answerWith((incoming, response) => response.end(JSON.stringify(incoming.headers)))
    const answer = await aws.send(aws.request({}, ['x-amz-security-token', 'inherited']))
    expect(valuesOf(aws.rig.upstream.last.rawHeaders, 'x-amz-security-token')).toEqual([token])
    expectSignedForReal()
    const shown = answer.body.toString()
    expect([shown.includes(token), shown.includes(aws.real.accessKeyId)]).toEqual([false, false])
    expect(shown).toContain(aws.held.accessKeyId)
  })

  it('a presigned request has it in its query', async () => {
    const time = amzDate()
    await send(aws.rig, { path: presigned(aws.open(), aws.held, time), sandbox: aws.box })
    const { target } = aws.rig.upstream.last
    const rest = encodeURIComponent(token)
    expect(target).toContain(encodeURIComponent(`${aws.real.accessKeyId}/${scopeOf(time)}`))
    expect(target).toMatch(/&X-Amz-Signature=[0-9a-f]{64}$/)
    expect(target).toContain(`&X-Amz-Security-Token=${rest}&X-Amz-Signature=`)
  })
})
