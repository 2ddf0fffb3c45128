/**
 * Masking. When a request released a value, the response has the placeholder wherever the upstream put the value: body,
 * fields, reason, trailers, in any cut of the bytes and in the forms servers give values back. A response that cannot be
 * searched is refused. When nothing was released, responses are nobody's business and pass as they are.
 */
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { Rig } from '../support/rig.ts'
import { headText, openWire, send } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type WireMessage } from '../support/wire.ts'

let rig: Rig
beforeAll(async () => {
  rig = await Rig.start()
})
afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
})

const credential = () => ['Authorization', `Bearer ${rig.secret.placeholder}`]

/** What the sandbox gets when the upstream answers with these bytes. */
async function masked(answer: string, request: readonly string[] = credential()): Promise<WireMessage> {
  rig.upstream.clear()
  rig.upstream.takeRaw(async (upstream) => {
    await upstream.head()
    upstream.write(answer)
    if (!/^(content-length|transfer-encoding):/im.test(answer)) upstream.socket.end()
  })
  const wire = await openWire(rig)
  wire.write(headText(rig, 'GET /', request))
  const message = await wire.message()
  wire.socket.destroy()
  return message
}

const ok = (fields: string, body: string) => `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n${body}`
const fixed = (body: string) => ok(`Content-Length: ${Buffer.byteLength(body)}`, body)
const chunk = (data: string) => `${Buffer.byteLength(data).toString(16)}\r\n${data}\r\n`

describe('a value in a body', () => {
  it('becomes the placeholder, and the Content-Length that of the new body', async () => {
    const answer = await masked(fixed(`{"key":"${rig.value}"}`))
    expect(answer.framing).toBe('length')
    expect(answer.body.toString()).toBe(`{"key":"${rig.secret.placeholder}"}`)
    expect(valuesOf(answer.fields, 'content-length')).toEqual([String(answer.body.length)])
  })

  it('becomes the placeholder however the body is cut in two', async () => {
    const body = `{"a":"${rig.value}","b":"${rig.value}"}`
    const expected = `{"a":"${rig.secret.placeholder}","b":"${rig.secret.placeholder}"}`
    rig.upstream.answerWith((request, response) => {
      const at = Number(request.url?.slice(1))
      response.write(body.slice(0, at))
      // Another turn, so that it travels alone.
      setImmediate(() => response.end(body.slice(at)))
    })
    const wire = await openWire(rig)
    for (let at = 1; at < body.length; at += 1) {
      wire.write(headText(rig, `GET /${at}`, credential()))
      expect((await wire.message()).body.toString()).toBe(expected)
    }
    wire.socket.destroy()
  })

  it('becomes the placeholder byte by byte', async () => {
    const chunks = Array.from(`<${rig.value}>`, chunk).join('')
    const answer = await masked(ok('Transfer-Encoding: chunked', `${chunks}0\r\n\r\n`))
    expect(answer.body.toString()).toBe(`<${rig.secret.placeholder}>`)
  })

  it('becomes the placeholder in a body that ends with the connection', async () => {
    const answer = await masked(ok('Content-Type: text/plain', rig.value))
    expect(answer.body.toString()).toBe(rig.secret.placeholder)
  })

  it('becomes the placeholder in a large body, which then is chunked', async () => {
    const filler = 'x'.repeat(100_000)
    const answer = await masked(fixed(`${filler}${rig.value}${filler}`))
    expect(answer.framing).toBe('chunked')
    expect(valuesOf(answer.fields, 'content-length')).toEqual([])
    expect(answer.body.toString() === `${filler}${rig.secret.placeholder}${filler}`).toBe(true)
  })

  it.each([200, 201, 400, 401, 500, 503])('of status %s becomes the placeholder', async (status) => {
    const answer = await masked(fixed(rig.value).replace('200', String(status)))
    expect([answer.status, answer.body.toString()]).toEqual([status, rig.secret.placeholder])
  })

  it.each<{ name: string; form: (value: string) => string }>([
    { name: 'base64', form: (value) => Buffer.from(value).toString('base64') },
    { name: 'base64 after one byte', form: (value) => Buffer.from(`a${value}`).toString('base64') },
    { name: 'base64 of Basic credentials', form: (value) => Buffer.from(`us:${value}`).toString('base64') },
    { name: 'base64url', form: (value) => Buffer.from(value).toString('base64url') },
    { name: 'hex', form: (value) => Buffer.from(value).toString('hex') },
    { name: 'hex in capitals', form: (value) => Buffer.from(value).toString('hex').toUpperCase() },
  ])('in the form of $name does not come back', async ({ form }) => {
    const answer = await masked(fixed(`{"seen":"${form(rig.value)}"}`))
    expect(answer.body.toString()).toContain(rig.secret.placeholder)
    expect(answer.body.toString()).not.toContain(form(rig.value).slice(4, -4))
  })

  it('that is another’s, or only a part of it, is left alone', async () => {
    const body = `${rig.value.slice(0, -12)} ${rig.secret.placeholder} other`
    expect((await masked(fixed(body))).body.toString()).toBe(body)
    // Half a value is what this test sent on purpose.
    rig.seen.length = 0
  })
})

describe('a value outside the body', () => {
  it('becomes the placeholder in every field, and names and order stay', async () => {
    const answer = await masked(
      ok(`Location: /?k=${rig.value}\r\nSet-Cookie: a=${rig.value}\r\nSet-Cookie: b=2\r\nContent-Length: 0`, ''),
    )
    const { placeholder } = rig.secret
    const fields = ['Location', `/?k=${placeholder}`, 'Set-Cookie', `a=${placeholder}`, 'Set-Cookie', 'b=2']
    expect(answer.fields.slice(0, 6)).toEqual(fields)
  })

  it('becomes the placeholder in the reason phrase', async () => {
    const answer = await masked(`HTTP/1.1 403 No ${rig.value} here\r\nContent-Length: 0\r\n\r\n`)
    expect(answer.start).toBe(`HTTP/1.1 403 No ${rig.secret.placeholder} here`)
  })

  it('becomes the placeholder in trailers', async () => {
    const answer = await masked(ok('Transfer-Encoding: chunked', `${chunk('body')}0\r\nX-Echo: ${rig.value}\r\n\r\n`))
    expect(answer.trailers).toEqual(['X-Echo', rig.secret.placeholder])
  })

  it('becomes the placeholder in the answer to HEAD, and in 204 and 304', async () => {
    for (const status of [204, 304]) {
      const answer = await masked(`HTTP/1.1 ${status} x\r\nETag: "${rig.value}"\r\nContent-Encoding: gzip\r\n\r\n`)
      expect([answer.status, ...valuesOf(answer.fields, 'etag')]).toEqual([status, `"${rig.secret.placeholder}"`])
    }
    rig.upstream.clear()
    rig.upstream.answerWith((_request, response) => response.setHeader('X-Echo', rig.value).end('body'))
    const answer = await send(rig, { method: 'HEAD', headers: credential() })
    expect(answer.headers['x-echo']).toBe(rig.secret.placeholder)
  })

  it('takes digests of the unmasked body along, even where the length stays', async () => {
    const value = crypto.randomUUID().replaceAll('-', '')
    const { secret } = await rig.app.data.secrets.create(rig.principal, {
      name: 'as-long-as-a-placeholder',
      value: SecretValue.fromText(value),
    })
    await rig.app.data.sandboxes.setMounts(rig.principal, 'box', { KEY: 'openai', OTHER: secret.name })
    const answer = await masked(ok('Content-MD5: x\r\nDigest: y\r\nRepr-Digest: z\r\nContent-Length: 32', value), [
      'X-Api-Key',
      secret.placeholder,
    ])
    expect([answer.framing, answer.body.toString()]).toEqual(['length', secret.placeholder])
    expect(answer.fields.join()).not.toMatch(/digest|md5/i)
  })

  it('leaves the digests of a body without it', async () => {
    const answer = await masked(ok('Content-MD5: x\r\nContent-Length: 4', 'body'))
    expect(valuesOf(answer.fields, 'content-md5')).toEqual(['x'])
  })
})

describe('a request that releases', () => {
  it('asks for an answer that can be searched, whatever the sandbox asked for', async () => {
    const wishes = [
      'Accept-Encoding',
      'gzip, br',
      'Range',
      'bytes=0-9',
      'If-Range',
      '"x"',
      'A-IM',
      'vcdiff',
      'Accept',
      '*/*',
    ]
    await send(rig, { headers: [...wishes, ...credential()] })
    const { headers } = rig.upstream.last
    expect(headers['accept-encoding']).toBe('identity')
    expect([headers.range, headers['if-range'], headers['a-im'], headers.accept]).toEqual([
      undefined,
      undefined,
      undefined,
      '*/*',
    ])
  })

  it.each([
    { name: 'gzip', fields: 'Content-Encoding: gzip' },
    { name: 'br', fields: 'Content-Encoding: br' },
    { name: 'a coding nobody knows', fields: 'Content-Encoding: rot13' },
    { name: 'two codings', fields: 'Content-Encoding: identity, gzip' },
    { name: 'two fields of codings', fields: 'Content-Encoding: identity\r\nContent-Encoding: gzip' },
    { name: 'parts', fields: 'Content-Type: multipart/byteranges; boundary=x' },
    { name: 'a range without 206', fields: 'Content-Range: bytes 0-3/10' },
  ])('gets 502 and no byte of an answer in $name', async ({ fields }) => {
    const answer = await masked(ok(`${fields}\r\nX-Echo: upstream text\r\nContent-Length: 8`, 'the body'))
    expect([answer.status, ...valuesOf(answer.fields, 'coatcheck-error')]).toEqual([502, 'unmaskable_response'])
    expect(answer.body.toString()).not.toContain('the body')
    expect(answer.fields.join()).not.toContain('upstream text')
    expect(rig.upstream.connections).toBe(1)
  })

  it('gets 502 for a slice, asked for or not', async () => {
    const slice = 'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/10\r\nContent-Length: 4\r\n\r\nCNRY'
    const answer = await masked(slice, ['Range', 'bytes=0-3', ...credential()])
    expect([answer.status, ...valuesOf(answer.fields, 'coatcheck-error')]).toEqual([502, 'unmaskable_response'])
  })

  it('takes “identity” for what it is', async () => {
    const answer = await masked(ok(`Content-Encoding: identity\r\nContent-Length: ${rig.value.length}`, rig.value))
    expect([answer.status, answer.body.toString()]).toEqual([200, rig.secret.placeholder])
  })

  it('does not use the connection of a refused answer again', async () => {
    rig.upstream.takeRaw(async (upstream) => {
      await upstream.head()
      upstream.write(ok('Content-Encoding: gzip\r\nContent-Length: 100', 'half'))
    })
    expect((await send(rig, { headers: credential() })).error?.code).toBe('unmaskable_response')
    await until(() => rig.upstream.sockets.size === 0)
  })
})

describe('a request that releases nothing', () => {
  it('has its wishes forwarded and gets codings and slices untouched', async () => {
    const body = gzipSync(`the ${rig.secret.placeholder} of another exchange`)
    rig.upstream.answerWith((_request, response) => {
      response
        .writeHead(206, { 'Content-Encoding': 'gzip', 'Content-Range': 'bytes 0-9/100', 'Content-MD5': 'x' })
        .end(body)
    })
    const answer = await send(rig, { headers: ['Accept-Encoding', 'gzip', 'Range', 'bytes=0-9', 'If-Range', '"x"'] })
    expect([answer.status, answer.headers['content-encoding'], answer.headers['content-md5']]).toEqual([
      206,
      'gzip',
      'x',
    ])
    expect(answer.body.equals(body)).toBe(true)
    const { headers } = rig.upstream.last
    expect([headers['accept-encoding'], headers.range, headers['if-range']]).toEqual(['gzip', 'bytes=0-9', '"x"'])
  })
})
