/**
 * Contract: AWS's published signatures are recognised and made, in header and query form; a request whose signed part was
 * changed is not; a session token of ours takes the place of any other. See test/vectors/sigv4.
 */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CanonicalForm } from '../../src/core/aws-canonical.ts'
import type { AwsCredentials } from '../../src/core/aws-credentials.ts'
import { type AwsSignature, findAwsSignature } from '../../src/core/aws-request.ts'
import { awsKey, sha256, signAws, verifyAws } from '../../src/core/aws-signature.ts'
import { SecretValue } from '../../src/core/secret.ts'
import type { RequestHead } from '../../src/core/substitution.ts'

interface Row {
  readonly name: string
  readonly method: string
  readonly target: string
  readonly headers: readonly (readonly [string, string])[]
  readonly signedHeaders: string
  readonly signature: string
  readonly body?: string
  readonly form?: CanonicalForm['path']
  readonly sessionToken?: string
}

interface Vectors {
  readonly region: string
  readonly service: string
  readonly date: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly rows: readonly Row[]
}

const HELD_ID = 'XCOATAAAAAAAAAAAAAAA'
const HELD_SECRET = SecretValue.fromText('p'.repeat(40))

function vectors(file: string): Vectors {
  return JSON.parse(readFileSync(new URL(`../vectors/sigv4/${file}`, import.meta.url), 'utf8')) as Vectors
}

function credentials(of: Pick<Vectors, 'accessKeyId' | 'secretAccessKey'>, token?: string): AwsCredentials {
  const { accessKeyId, secretAccessKey } = of
  const sessionToken = token === undefined ? null : SecretValue.fromText(token)
  return { accessKeyId, secretAccessKey: SecretValue.fromText(secretAccessKey), sessionToken }
}

function authorization(of: Vectors, row: Row, id: string, signature: string): string {
  const scope = `${of.date}/${of.region}/${of.service}/aws4_request`
  return `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${row.signedHeaders}, Signature=${signature}`
}

function headOf(row: Row, signed?: string): RequestHead {
  const headers = row.headers.flatMap(([name, value]) => [name, value])
  return { method: row.method, path: row.target, headers: signed ? [...headers, 'Authorization', signed] : headers }
}

function signatureIn(head: RequestHead): AwsSignature {
  const found = findAwsSignature(head)
  if (found === null) throw new Error('no signature found')
  return found
}

/** As the proxy does: what was stated, or the digest. */
function payloadOf({ payload }: AwsSignature, body = ''): string {
  return payload.kind === 'digest' ? sha256(body) : payload.text
}

describe.each(['suite-header.json', 's3-header.json'])('header form, %s', (file) => {
  const all = vectors(file)
  it.each(all.rows)('$name', (row) => {
    // The access key id is no part of what is signed in this form.
    const head = headOf(row, authorization(all, row, HELD_ID, row.signature))
    const signature = signatureIn(head)
    const payload = payloadOf(signature, row.body)
    const form = verifyAws(head, signature, awsKey(signature, SecretValue.fromText(all.secretAccessKey)), payload)
    expect(form?.query).toBe('encoded')
    if (row.form !== undefined) expect(form?.path).toBe(row.form)
    const again = signAws(head, { signature, form: form as CanonicalForm, credentials: credentials(all), payload })
    expect(again.signature).toBe(row.signature)
    expect(again.head.headers.at(-1)).toBe(authorization(all, row, all.accessKeyId, row.signature))
    expect(again.head.path).toBe(row.target)
  })
})

describe.each(['suite-query.json', 's3-query.json'])('query form, %s', (file) => {
  const all = vectors(file)
  it.each(all.rows)('$name', (row) => {
    const head = headOf(row)
    const signature = signatureIn(head)
    const payload = payloadOf(signature)
    const form: CanonicalForm = { path: 'as-sent', query: 'encoded' }
    const signed = signAws(head, { signature, form, credentials: credentials(all, row.sessionToken), payload })
    expect(signed.signature).toBe(row.signature)
    expect(signed.head.path).toContain(`X-Amz-Credential=${all.accessKeyId}%2F`)
    expect(signed.head.path.endsWith(`&X-Amz-Signature=${row.signature}`)).toBe(true)
    expect(signed.head.path).not.toContain(HELD_ID)
    const held = { accessKeyId: HELD_ID, secretAccessKey: HELD_SECRET, sessionToken: null }
    const own = signAws(head, { signature, form, credentials: held, payload }).head
    const read = signatureIn(own)
    expect(verifyAws(own, read, awsKey(read, HELD_SECRET), payload)).not.toBeNull()
    expect(verifyAws(own, read, awsKey(read, SecretValue.fromText('other')), payload)).toBeNull()
  })
})

const [vanilla] = vectors('suite-header.json').rows as [Row]
const published = vectors('suite-header.json')
const FORM: CanonicalForm = { path: 'normalized-twice', query: 'encoded' }

/** A request signed with the placeholder pair. */
function signedByPlaceholder(changes: Partial<Row> = {}): RequestHead {
  const row = { ...vanilla, ...changes }
  const unsigned = headOf(row, authorization(published, row, HELD_ID, '0'.repeat(64)))
  const signature = signatureIn(unsigned)
  const held = { accessKeyId: HELD_ID, secretAccessKey: HELD_SECRET, sessionToken: null }
  return signAws(unsigned, { signature, form: FORM, credentials: held, payload: payloadOf(signature, row.body) }).head
}

function verifies(head: RequestHead, body?: string): boolean {
  const signature = signatureIn(head)
  return verifyAws(head, signature, awsKey(signature, HELD_SECRET), payloadOf(signature, body)) !== null
}

describe('a request that was changed after it was signed', () => {
  const head = signedByPlaceholder()
  it('is told by its method, path, query, signed field and body', () => {
    expect(verifies(head)).toBe(true)
    expect(verifies({ ...head, method: 'PUT' })).toBe(false)
    expect(verifies({ ...head, path: '/x' })).toBe(false)
    expect(verifies({ ...head, path: '/?a' })).toBe(false)
    expect(verifies({ ...head, headers: head.headers.map((text) => text.replace('example.', 'other.')) })).toBe(false)
    expect(verifies(head, 'x')).toBe(false)
  })

  it('is told by its date, region and service', () => {
    const moved = (from: string, to: string): RequestHead => ({
      ...head,
      headers: head.headers.map((text) => text.replaceAll(from, to)),
    })
    expect(verifies(moved('20150830', '20150831'))).toBe(false)
    expect(verifies(moved('us-east-1', 'us-east-2'))).toBe(false)
    expect(verifies(moved('/service/', '/s3/'))).toBe(false)
  })

  it('is not told by a field that is not signed', () => {
    expect(verifies({ ...head, headers: [...head.headers, 'Via', '1.1 x'] })).toBe(true)
  })
})

describe('signing again', () => {
  it('drops a session token that the client sent and adds the real one, signed', () => {
    const token = ['X-Amz-Security-Token', 'not the real one'] as const
    const head = signedByPlaceholder({ headers: [...vanilla.headers, token] })
    const signature = signatureIn(head)
    const real = credentials(published, 'T'.repeat(64))
    const signed = signAws(head, { signature, form: FORM, credentials: real, payload: sha256('') }).head
    const names = signed.headers.filter((_text, i) => i % 2 === 0)
    expect(names).toEqual(['Host', 'X-Amz-Date', 'Authorization', 'x-amz-security-token'])
    expect(signed.headers.at(-1)).toBe('T'.repeat(64))
    expect(signed.headers[5]).toContain('SignedHeaders=host;x-amz-date;x-amz-security-token,')
  })

  it('leaves out of the signed fields what is not sent on, and signs the rest as it is sent', () => {
    const head = signedByPlaceholder({
      headers: [...vanilla.headers, ['Connection', 'close'], ['Accept-Encoding', 'gzip']],
      signedHeaders: 'accept-encoding;connection;host;x-amz-date',
    })
    const signature = signatureIn(head)
    const sent = { ...head, headers: head.headers.filter((_text, i) => i < 4 || i > 5) }
    sent.headers[5] = 'identity'
    const signed = signAws(sent, {
      signature,
      form: FORM,
      credentials: credentials(published),
      payload: sha256(''),
    }).head
    expect(signed.headers.join()).toContain('SignedHeaders=accept-encoding;host;x-amz-date,')
    const asIfHeld = signed.headers.map((text) => text.replace(published.accessKeyId, HELD_ID))
    const again = signatureIn({ ...signed, headers: asIfHeld })
    const key = awsKey(again, SecretValue.fromText(published.secretAccessKey))
    expect(verifyAws(signed, again, key, sha256(''))).not.toBeNull()
  })

  it('keeps the form the client signed, whatever path and query it has', () => {
    const piece = fc.stringMatching(/^[A-Za-z0-9._~!$&'()*+,;:@%-]{0,8}$/)
    const target = fc
      .tuple(fc.array(piece, { maxLength: 4 }), fc.array(fc.tuple(piece, piece), { maxLength: 3 }))
      .map(([path, query]) => `/${path.join('/')}?${query.map(([name, value]) => `${name}=${value}`).join('&')}`)
    const forms = fc.record<CanonicalForm>({
      path: fc.constantFrom('normalized-twice', 'twice', 'once', 'as-sent'),
      query: fc.constantFrom('encoded', 'plus-is-blank', 'as-sent'),
    })
    fc.assert(
      fc.property(target, forms, (path, form) => {
        const head = { ...headOf(vanilla, authorization(published, vanilla, HELD_ID, '0'.repeat(64))), path }
        const held = { accessKeyId: HELD_ID, secretAccessKey: HELD_SECRET, sessionToken: null }
        const signing = { signature: signatureIn(head), form, credentials: held, payload: sha256('') }
        expect(verifies(signAws(head, signing).head)).toBe(true)
      }),
    )
  })
})

describe('a signature that names a placeholder and cannot be read', () => {
  const scope = '20150830/us-east-1/s3/aws4_request'
  const whole = `AWS4-HMAC-SHA256 Credential=${HELD_ID}/${scope}, SignedHeaders=host, Signature=${'0'.repeat(64)}`
  const refused = (fields: readonly string[], path = '/'): string | undefined => {
    try {
      findAwsSignature({ method: 'GET', path, headers: ['Host', 'a', 'X-Amz-Date', '20150830T123600Z', ...fields] })
      return undefined
    } catch (error) {
      return (error as { code?: string }).code
    }
  }

  it.each([
    ['Signature Version 2', `AWS ${HELD_ID}:c2lnbmF0dXJl`],
    ['Signature Version 4A', whole.replace('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256')],
    ['no host', whole.replace('=host', '=x-amz-date')],
    ['another day', whole.replace('/20150830/', '/20150831/')],
    ['a part twice', `${whole}, Signature=${'1'.repeat(64)}`],
    ['no signature', whole.slice(0, -3)],
  ])('is refused: %s', (_name, text) => {
    expect(refused(['Authorization', whole])).toBeUndefined()
    expect(refused(['Authorization', text])).toBe('signature_invalid')
  })

  it('is refused when it is there twice, or in the field and the query', () => {
    const query = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(`${HELD_ID}/${scope}`)}`
    expect(refused(['Authorization', whole, 'authorization', whole])).toBe('signature_invalid')
    expect(refused(['Authorization', whole], `/?${query}`)).toBe('signature_invalid')
    expect(refused([], `/?${query}&${query}`)).toBe('signature_invalid')
  })

  it('is refused when its body is signed in an unknown way', () => {
    for (const stated of ['STREAMING-AWS4-HMAC-SHA256-EVENTS', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 'x']) {
      expect(refused(['Authorization', whole, 'x-amz-content-sha256', stated])).toBe('signature_invalid')
    }
  })

  it('is nobody’s when the marker is in something else', () => {
    for (const text of ['Bearer XCOATS', `Bearer ${HELD_ID}X`, whole.replace(HELD_ID, 'AKIAXCOATAAAAAAAAAAA')]) {
      expect(
        findAwsSignature({ method: 'GET', path: `/${HELD_ID}?a=${HELD_ID}`, headers: ['Authorization', text] }),
      ).toBeNull()
    }
  })
})
