/**
 * Request trailers. They end here, unless a secret of the sandbox with the placement `trailer` may go to that host; then
 * those go on that may be trailers, placeholders in them are decided on like any, and what was put in comes back masked.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ExchangeEvent, ReleaseEvent } from '../../src/core/audit-event.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { MIXES, type Protocol } from '../support/either-protocol.ts'
import { H2Upstream } from '../support/h2-upstream.ts'
import { FRAME, frame, type H2Wire } from '../support/h2-wire.ts'
import { writtenFields } from '../support/hpack-fields.ts'
import { assertNoLeak, canary } from '../support/leak-check.ts'
import { Rig, type RigSandbox } from '../support/rig.ts'
import { askTrailed, type TrailedAsk, TrailedUpstreams } from '../support/trailed.ts'
import { until } from '../support/until.ts'

const value = canary('trailer')
const unsafe = `${canary('lines')}\nX-Injected: 1`
let rig: Rig
let h2: H2Upstream
let upstreams: TrailedUpstreams
/** Has the secret with the placement, and another without it. */
let sandbox: RigSandbox
let placeholder: string
let unsafePlaceholder: string
/** Of a secret that no sandbox has. */
let foreignPlaceholder: string
/** Exchanges so far. */
let asked = 0

async function create(name: string, text: string): Promise<string> {
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name,
    value: SecretValue.fromText(text),
    hosts: ['api.test'],
    placements: ['trailer'],
  })
  return secret.placeholder
}

beforeAll(async () => {
  h2 = await H2Upstream.start()
  rig = await Rig.start({ ports: [h2.port] })
  h2.certifiedBy(rig.authority)
  placeholder = await create('signature', value)
  unsafePlaceholder = await create('lines', unsafe)
  foreignPlaceholder = await create('foreign', canary('foreign'))
  sandbox = await rig.sandboxWith('signer', { SIGNATURE: 'signature', LINES: 'lines', OPENAI_API_KEY: 'openai' })
})
beforeEach(() => {
  upstreams = new TrailedUpstreams(rig, h2)
})
afterEach(async () => {
  rig.upstream.clear()
  h2.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  const seen = Buffer.concat(rig.seen)
  await rig.stop()
  await h2.stop()
  assertNoLeak(value, { 'what the sandbox saw': seen, 'the log': rig.logLines.join('') })
})

function ask(from: Protocol, to: Protocol, trailers: readonly string[], more: Partial<TrailedAsk> = {}) {
  asked += 1
  return askTrailed(from, rig, to === 'h1' ? rig.upstream.port : h2.port, { sandbox, trailers, ...more })
}

/** The events of the last exchange, once it is over. */
async function lastEvents() {
  let events: readonly (ExchangeEvent | ReleaseEvent)[] = []
  await until(async () => {
    events = (await rig.events()).filter((event) => event.kind === 'exchange' || event.kind === 'release')
    return events.filter((event) => event.kind === 'exchange').length === asked
  })
  return events.filter((event) => event.exchange === events.at(-1)?.exchange)
}

describe.each(MIXES)('from %s to %s', (from, to) => {
  it('a value arrives in its trailer, recorded before, and comes back masked', async () => {
    let recorded: unknown
    upstreams.onArrived = async () => {
      // Without a flush: what is durable by now.
      const { items } = await rig.app.data.records.list(rig.principal, { limit: 1, cursor: null })
      recorded = items[0]
    }
    const answer = await ask(from, to, ['X-Signature', `v1=${placeholder}`, 'X-Sum', 'abc'], {
      headers: ['Trailer', 'X-Signature, X-Sum'],
      body: ['a ', 'whole ', 'body'],
    })
    expect(upstreams.arrived.map(({ body, trailers }) => [body, ...trailers])).toEqual([
      ['a whole body', 'x-signature', `v1=${value}`, 'x-sum', 'abc'],
    ])
    expect(upstreams.arrived[0]?.headers['trailer']).toBe('X-Signature, X-Sum')
    expect(recorded).toMatchObject({ kind: 'release', secrets: [{ name: 'signature', placement: 'trailer' }] })
    expect(answer).toMatchObject({ status: 200, trailers: ['x-end', `v1=${placeholder},abc`] })
    expect(answer.body).toContain(`v1=${placeholder},abc`)
    expect((await lastEvents()).at(-1)).toMatchObject({ decision: 'released', status: 200, reported: 0 })
  })

  it('a value comes back masked also in an answer that began before it was put in', async () => {
    upstreams.eager = true
    const answer = await ask(from, to, ['X-Signature', placeholder], { onceAnswered: true })
    expect(upstreams.arrived[0]?.trailers).toEqual(['x-signature', value])
    expect(answer).toMatchObject({ status: 200, body: `early ${placeholder}`, trailers: ['x-end', placeholder] })
  })

  it('none goes on for a sandbox without the placement, nor to a host that no such secret may go to', async () => {
    const trailers = ['X-Signature', placeholder, 'X-Sum', 'abc']
    const headers = ['Trailer', 'X-Signature, X-Sum']
    for (const where of [{ sandbox: rig.sandbox }, { host: 'evil.test' }]) {
      expect(await ask(from, to, trailers, { headers, ...where })).toMatchObject({
        status: 200,
        trailers: ['x-end', ''],
      })
    }
    expect(upstreams.arrived.map((each) => [each.body, each.headers['trailer'], each.trailers])).toEqual([
      ['body', undefined, []],
      ['body', undefined, []],
    ])
    expect((await lastEvents()).map((event) => event.kind)).toEqual(['exchange'])
  })

  it.each([
    { what: 'of a secret without the placement', trailer: () => rig.secret.placeholder, code: 'placement_not_allowed' },
    { what: 'that the sandbox does not have', trailer: () => foreignPlaceholder, code: 'unknown_placeholder' },
    { what: 'that is there twice', trailer: () => `${placeholder} ${placeholder}`, code: 'placement_not_allowed' },
    { what: 'of a value that no field takes', trailer: () => unsafePlaceholder, code: 'value_not_placeable' },
  ])('a placeholder $what refuses the request, which is never finished', async ({ trailer, code }) => {
    const answer = await ask(from, to, ['X-Sum', 'abc', 'X-Signature', trailer()])
    expect(answer).toMatchObject({ status: 403, code })
    expect(upstreams.arrived).toEqual([])
    expect(rig.upstream.received.toString('latin1')).not.toMatch(/\r\n0\r\n|x-sum|x-signature/i)
    expect((await lastEvents()).at(-1)).toMatchObject({ decision: 'refused', reason: code })
  })

  it('a refusal cuts an answer that has begun', async () => {
    upstreams.eager = true
    const answer = await ask(from, to, ['X-Signature', rig.secret.placeholder], { onceAnswered: true })
    expect(answer.status).toBe(null)
    expect(upstreams.arrived).toEqual([])
    expect((await lastEvents()).at(-1)).toMatchObject({ decision: 'refused', reason: 'placement_not_allowed' })
  })

  it('nothing is released into trailers that nobody waits for any more', async () => {
    rig.upstream.answerWith((_request, response) => response.end('done'))
    h2.answerWith(({ stream }) => {
      stream.respond({ ':status': 200 })
      stream.end('done')
    })
    const answer = await ask(from, to, ['X-Signature', placeholder], { onceAnswered: true })
    expect(answer).toMatchObject({ status: 200, body: 'done' })
    expect((await lastEvents()).map((event) => event.kind)).toEqual(['exchange'])
    expect(h2.requests.flatMap((each) => each.trailers)).toEqual([])
    await until(() => h2.requests.every((each) => each.stream.closed))
  })

  it('fields that may never be trailers are dropped, and merged into nothing', async () => {
    const never = ['Authorization', `Bearer ${placeholder}`, 'Cookie', `a=${placeholder}`, 'Content-Encoding', 'gzip']
    const more = ['X-Forwarded-For', '10.0.0.1', 'Range', 'bytes=0-0', 'If-Match', '"x"', 'Via', '1.1 other']
    const answer = await ask(from, to, [...never, ...more, 'X-Sum', 'abc', 'X-Signature', placeholder], {
      headers: ['Trailer', `authorization, x-sum, ${placeholder}`, 'Trailer', 'content-encoding'],
    })
    expect(answer.status).toBe(200)
    const [arrived] = upstreams.arrived
    expect(arrived?.trailers).toEqual(['x-sum', 'abc', 'x-signature', value])
    expect(arrived?.headers['trailer']).toBe('x-sum')
    for (const name of [
      'authorization',
      'cookie',
      'content-encoding',
      'range',
      'if-match',
      'x-forwarded-for',
      'x-sum',
    ]) {
      expect(arrived?.headers).not.toHaveProperty(name)
    }
  })

  it('more of them than a head may have are refused, and the request is never finished', async () => {
    const many = Array.from({ length: 80 }, (_none, i) => [`x-${i}`, 'v'.repeat(1024)]).flat()
    const answer = await ask(from, to, [...many, 'X-Signature', placeholder])
    expect(answer.status).not.toBe(200)
    expect(upstreams.arrived).toEqual([])
    expect(rig.upstream.received.includes(value)).toBe(false)
  })
})

describe('to an upstream over HTTP/1.1', () => {
  it('the connection carries the next request after one with trailers', async () => {
    for (let i = 0; i < 2; i++) await ask('h1', 'h1', ['X-Signature', placeholder])
    expect(rig.upstream.connections).toBe(1)
    expect(upstreams.arrived.map((each) => each.trailers)).toEqual([
      ['x-signature', value],
      ['x-signature', value],
    ])
  })

  it('a request with a Content-Length has none, so they are dropped and nothing is released', async () => {
    const answer = await ask('h2', 'h1', ['X-Signature', placeholder], { headers: ['content-length', '4'] })
    expect(answer.status).toBe(200)
    expect(upstreams.arrived).toMatchObject([{ body: 'body', trailers: [] }])
    expect((await lastEvents()).map((event) => event.kind)).toEqual(['exchange'])
  })

  it.each([
    ['Content-Length', '3'],
    ['Transfer-Encoding', 'chunked'],
    ['Host', 'evil.test'],
    ['Connection', 'close'],
    ['X-Private', 'nominated'],
    ['Proxy-Authorization', 'Basic x'],
  ])('D06 a trailer %s reaches it neither as one nor as a header', async (name, text) => {
    const answer = await ask('h1', 'h1', [name, text, 'X-Signature', placeholder], {
      headers: ['Connection', 'x-private'],
    })
    const received = rig.upstream.received.toString('latin1')
    // Some end at the parser, as they always did.
    if (answer.status === 200) expect(upstreams.arrived[0]?.trailers).toEqual(['x-signature', value])
    else expect(received).not.toMatch(/\r\n0\r\n\r\n/)
    expect(received).not.toMatch(new RegExp(`^${name}: ${text}\r$`, 'im'))
  })
})

describe('to an upstream over HTTP/2', () => {
  it('trailers go with a body that tells its length', async () => {
    const answer = await ask('h2', 'h2', ['X-Signature', placeholder], { headers: ['content-length', '4'] })
    expect(answer.status).toBe(200)
    expect(upstreams.arrived).toMatchObject([{ body: 'body', trailers: ['x-signature', value] }])
  })

  it('no trailer enters an HPACK table', async () => {
    const wires: H2Wire[] = []
    h2.takeRaw((wire) => {
      wires.push(wire)
      wire.write(frame(FRAME.settings, 0, 0))
    })
    const answer = ask('h2', 'h2', ['X-Signature', placeholder, 'X-Sum', 'abc'])
    const framesOf = () => wires.flatMap((wire) => wire.frames.filter((each) => each.type === FRAME.headers))
    await until(() => framesOf().length === 2)
    expect(writtenFields(framesOf()[1]?.payload as Buffer)).toEqual([
      { as: 'never indexed', index: 0 },
      { as: 'never indexed', index: 0 },
    ])
    for (const wire of wires) wire.socket.destroy()
    await answer
  })
})

it('what may not be released goes on as it is where the workspace says withhold', async () => {
  await rig.app.data.settings.update(rig.principal, { onDenied: 'withhold' })
  const answer = await ask('h1', 'h1', ['X-Signature', placeholder, 'X-Other', rig.secret.placeholder])
  await rig.app.data.settings.update(rig.principal, { onDenied: null })
  expect(answer.status).toBe(200)
  expect(upstreams.arrived[0]?.trailers).toEqual(['x-signature', value, 'x-other', rig.secret.placeholder])
  expect((await lastEvents()).at(-1)).toMatchObject({ decision: 'released', reported: 1 })
})

it('one that a body has had already is refused in a trailer, unless the secret may be there more often', async () => {
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name: 'in-body',
    value: SecretValue.fromText(`${value}-body`),
    hosts: ['api.test'],
    placements: ['body', 'trailer'],
  })
  const often = await rig.sandboxWith('often', { KEY: 'in-body' })
  const more = { sandbox: often, headers: ['Content-Type', 'text/plain'], body: [`key ${secret.placeholder} end`] }
  expect(await ask('h1', 'h1', ['X-Key', secret.placeholder], more)).toMatchObject({ status: 403 })
  expect(upstreams.arrived).toEqual([])
  await rig.app.data.secrets.update(rig.principal, 'in-body', { maxOccurrences: 2 })
  expect(await ask('h1', 'h1', ['X-Key', secret.placeholder], more)).toMatchObject({ status: 200 })
  expect(upstreams.arrived).toMatchObject([{ body: `key ${value}-body end`, trailers: ['x-key', `${value}-body`] }])
})

it('one that is in the head and in a trailer is put into both, where its placements say so', async () => {
  const { secret } = await rig.app.data.secrets.create(rig.principal, {
    name: 'both',
    value: SecretValue.fromText(`${value}-both`),
    hosts: ['api.test'],
    placements: ['credential-headers', 'trailer'],
  })
  const both = await rig.sandboxWith('both', { BOTH: 'both' })
  const headers = ['Authorization', `Bearer ${secret.placeholder}`]
  await ask('h1', 'h1', ['X-Signature', secret.placeholder], { sandbox: both, headers })
  expect(upstreams.arrived).toMatchObject([
    { headers: { authorization: `Bearer ${value}-both` }, trailers: ['x-signature', `${value}-both`] },
  ])
})
