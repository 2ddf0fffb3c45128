/**
 * Contract: a leaf is for the tunnel's canonical host and nothing that a sandbox wrote; leaves are limited in rate, valid
 * around now whatever the clock did, and a failure to mint ends one tunnel and not the process.
 */

import type { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { answerToHello, clientHello } from '../support/client-hello.ts'
import { DialCounter } from '../support/dial-counter.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { expectRecorded, expectRefusal, verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const YEAR = 365.25 * DAY
const BURST = 10

let rig: Rig
let box: RawSandbox
let dials: DialCounter
let start: number
let now: number

beforeAll(async () => {
  start = Date.now()
  now = start
  rig = await Rig.start({ clock: () => now, env: { COATCHECK_LIMITS_NEWLEAVESPERSECOND: '1' } })
  box = new RawSandbox(rig)
  dials = new DialCounter(rig.upstream.server, rig.plain.server)
})
beforeEach(() => {
  // Time enough for the allowance of new leaves to be full again.
  start += 2 * HOUR
  now = start
  rig.upstream.clear()
  dials.reset()
})
afterAll(async () => {
  await rig.stop()
})

/** The leaf for a tunnel to this host; the machine's own clock, which may differ, does not judge it. */
async function leafFor(host: string): Promise<X509Certificate> {
  const stream = await box.openTls(host, { tls: { rejectUnauthorized: false } })
  const leaf = stream.getPeerX509Certificate() as X509Certificate
  stream.destroy()
  return leaf
}

describe('what a sandbox writes', () => {
  it.each<[string, string]>([
    ['a NUL', 'api.test\0.evil.test'],
    ['a wildcard', '*.test'],
    ['a lone wildcard', '*'],
    ['255 bytes', `${'a.'.repeat(127)}a`],
    ['300 bytes', 'a'.repeat(300)],
    ['a label of 64 bytes', `${'a'.repeat(64)}.test`],
    ['a line feed', 'api.test\nevil.test'],
    ['a distinguished name', 'api.test/CN=evil.test'],
    ['relative distinguished names', 'CN=a,O=b'],
    ['a list of names', 'api.test, DNS:evil.test'],
    ['invalid UTF-8', '\xff\xfe.test'],
    ['quotes', '"api.test"'],
  ])('C03 in the server name, %s, is never signed', async (_what, name) => {
    const { tunnel } = await box.connect(`api.test:${rig.upstream.port}`)
    tunnel.write(clientHello({ names: [name] }))
    const { alert, leaf } = await answerToHello(tunnel)
    if (leaf === null) expect(alert).not.toBeNull()
    else expect([leaf.subjectAltName, leaf.subject]).toEqual(['DNS:api.test', undefined])
    expect(dials.count).toBe(0)
  })

  it.each([
    '*.test',
    'CN=evil.test',
    'a/b.test',
    `${'a'.repeat(64)}.test`,
    `${'a.'.repeat(127)}test`,
    '-a.test',
    'a-.test',
  ])('C03 in the CONNECT target, %s, gets no tunnel and no leaf', async (host) => {
    const { answer } = await box.connect(`${host}:443`)
    await expectRefusal(rig, dials, answer, 400, 'invalid_host')
  })

  it('C03 as the longest host there is gets a leaf for exactly that host, with an empty subject', async () => {
    const longest = `${'abcdefg.'.repeat(31)}test1`
    expect(longest).toHaveLength(253)
    const leaf = await leafFor(longest)
    expect([leaf.subjectAltName, leaf.subject, leaf.ca]).toEqual([`DNS:${longest}`, undefined, false])
  })
})

describe('endless new hosts', () => {
  const connect = async (who: RawSandbox, host: string) => {
    const { answer, tunnel } = await who.connect(`${host}:${rig.upstream.port}`)
    tunnel.destroy()
    return answer
  }

  it('C04 are refused with 429 beyond the rate, for that sandbox alone, and for new hosts alone', async () => {
    await leafFor('api.test')
    now += HOUR
    for (let i = 0; i < BURST; i++) expect((await connect(box, `a${i}.wild.test`)).status).toBe(200)
    await expectRefusal(rig, dials, await connect(box, 'one-more.wild.test'), 429, 'rate_limited')
    expect((await connect(box, 'api.test')).status).toBe(200)
    const other = new RawSandbox(rig, await rig.sandboxWith('other', {}))
    expect((await connect(other, 'one-more.wild.test')).status).toBe(200)
    now += 1000
    expect((await connect(box, 'one-more.wild.test')).status).toBe(200)
    expect(verdict(await connect(box, 'yet-another.wild.test'))).toEqual([429, 'rate_limited'])
  })

  it('C04 without credentials cost nothing and get nothing', async () => {
    for (let i = 0; i < 3 * BURST; i++) {
      const answer = await box.send(`CONNECT b${i}.wild.test:443 HTTP/1.1\r\nHost: b${i}.wild.test:443\r\n\r\n`)
      expect(verdict(answer)).toEqual([407, 'identity_required'])
    }
    expect((await connect(box, 'b.wild.test')).status).toBe(200)
  })
})

describe('a minter that fails', () => {
  it('C05 ends the tunnel with an event, whatever the server name, and the next one works once it can mint again', async () => {
    now = start + 11 * YEAR
    for (const name of ['late.wild.test', 'evil.test', '*', '\xff']) {
      await expectRecorded(rig, 'authority_unusable', async () => {
        const { tunnel } = await box.connect(`late.wild.test:${rig.upstream.port}`)
        tunnel.on('close', () => undefined).resume()
        tunnel.write(clientHello({ names: [name] }))
        if (!tunnel.destroyed) await once(tunnel, 'close')
      })
    }
    expect(dials.count).toBe(0)
    now = start
    expect((await leafFor('late.wild.test')).subjectAltName).toBe('DNS:late.wild.test')
  })

  it('C05 leaves other tunnels alone', async () => {
    const stream: TLSSocket = await box.openTls('api.test', { tls: { rejectUnauthorized: false } })
    now = start + 11 * YEAR
    const { tunnel } = await box.connect(`later.wild.test:${rig.upstream.port}`)
    tunnel.resume().write(clientHello({ names: ['later.wild.test'] }))
    await once(tunnel, 'close')
    stream.write(`GET / HTTP/1.1\r\nHost: api.test:${rig.upstream.port}\r\n\r\n`)
    expect((await box.answerOn(stream)).status).toBe(200)
    stream.destroy()
  })
})

describe('a clock that moves', () => {
  it.each([
    ['not at all', 0],
    ['400 days ahead', 400 * DAY],
    ['to two thirds of a leaf’s life', 133 * DAY],
    ['two days back', -2 * DAY],
    ['to a year before the authority ends', 9 * YEAR],
  ])('C06 %s finds a leaf that is valid around now and for less than 200 days', async (_what, shift) => {
    const host = 'clock.wild.test'
    await leafFor(host)
    now = start + shift
    const leaf = await leafFor(host)
    const from = leaf.validFromDate.getTime()
    const until = leaf.validToDate.getTime()
    expect(now - from).toBeGreaterThanOrEqual(0)
    expect(until - now).toBeGreaterThan(60 * DAY)
    expect(until - from).toBeLessThan(200 * DAY)
  })

  it('C06 to the last month of the authority finds a leaf that ends with it', async () => {
    const { notAfter } = rig.app.data.authority
    now = notAfter.getTime() - 20 * DAY
    const leaf = await leafFor('end.wild.test')
    expect(leaf.validToDate).toEqual(notAfter)
  })

  it('C06 by less than a third of a leaf’s life finds the leaf it had', async () => {
    const before = await leafFor('same.wild.test')
    now = start + 60 * DAY
    expect((await leafFor('same.wild.test')).fingerprint256).toBe(before.fingerprint256)
  })

  it('C06 not at all finds a leaf dated back by an hour, for clients that are behind', async () => {
    const leaf = await leafFor('behind.wild.test')
    const back = now - leaf.validFromDate.getTime()
    expect(back).toBeGreaterThanOrEqual(HOUR - 1000)
    expect(back).toBeLessThanOrEqual(DAY)
  })
})
