/** The server name of a TLS client: the same however its bytes arrive, or the reason why there is none to trust. */
import { readFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ClientHello, readClientHello } from '../../src/proxy/client-hello.ts'

interface Row {
  readonly name: string
  readonly hex: string
  readonly serverName?: string | null
  readonly flaw?: string
}

const rows = JSON.parse(
  readFileSync(join(import.meta.dirname, '../vectors/client-hello/hellos.json'), 'utf8'),
) as readonly Row[]
const sound = rows.filter((row) => row.flaw === undefined)
const bytesOf = (row: Row): Buffer => Buffer.from(row.hex, 'hex')
const expected = ({ serverName = null, flaw }: Row): ClientHello =>
  flaw === undefined ? { kind: 'hello', serverName } : { kind: 'malformed', flaw }

/** A fatal alert 40 (RFC 8446 6). */
const isHandshakeFailure = (answer: Buffer): boolean => answer[0] === 21 && answer[6] === 40

/** The first record's payload in records of at most so many bytes. */
function fragmented(bytes: Buffer, size: number): Buffer {
  const message = bytes.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size)
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part)
  }
  return Buffer.concat(records)
}

describe('a first message', () => {
  it.each(rows)('is read, or is malformed for a reason: $name', (row) => {
    expect(readClientHello(bytesOf(row))).toEqual(expected(row))
  })

  it.each(sound)('is the same with more behind it: $name', (row) => {
    const more = Buffer.concat([bytesOf(row), Buffer.from('1703030001aa', 'hex')])
    expect(readClientHello(more)).toEqual(expected(row))
  })

  it.each(sound)('is incomplete up to its last byte, and never asks for more than it has: $name', (row) => {
    const bytes = bytesOf(row)
    for (let length = 0; length < bytes.length; length++) {
      const read = readClientHello(bytes.subarray(0, length))
      if (read.kind !== 'incomplete') expect.fail(`${length} bytes were enough`)
      expect(read.needs > length && read.needs <= bytes.length).toBe(true)
    }
  })

  it.each(sound)('is the same in several records: $name', (row) => {
    const bytes = bytesOf(row)
    for (let size = Math.ceil((bytes.length - 5) / 64); size < bytes.length; size++) {
      expect(readClientHello(fragmented(bytes, size))).toEqual(expected(row))
    }
  })

  it('is malformed in more records than anybody needs', () => {
    const bytes = fragmented(bytesOf(sound[0] as Row), 1)
    expect(readClientHello(bytes)).toMatchObject({ kind: 'malformed', flaw: 'is in too many records' })
  })
})

describe('whatever is sent', () => {
  let server: tls.Server
  let seen: string | null
  beforeAll(async () => {
    const options = { maxVersion: 'TLSv1.2', SNICallback: notice } as const
    server = tls.createServer(options)
    server.on('tlsClientError', () => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve))
  })

  function notice(name: string, done: (error: Error | null) => void): void {
    seen = name
    done(null)
  }

  /** Null when it saw no name; undefined when it did not take the hello. */
  async function nameSeenByOpenSsl(bytes: Buffer): Promise<string | null | undefined> {
    seen = null
    const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.end(bytes)
    const chunks: Buffer[] = []
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk)
    const answer = Buffer.concat(chunks)
    // Without a certificate it cannot agree on a cipher, but an extension that it cannot read comes first.
    return seen !== null || isHandshakeFailure(answer) ? seen : undefined
  }

  it('is read, incomplete or malformed, and bounded', () => {
    const start = fc.constantFrom('16', '1603', '160301', '16030100', '160301004001000')
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 200 }), (prefix, random) => {
        const even = prefix.length % 2 === 0 ? prefix : `${prefix}0`
        const read = readClientHello(Buffer.concat([Buffer.from(even, 'hex'), random]))
        if (read.kind === 'incomplete') expect(read.needs).toBeLessThan(33 * 1024)
      }),
    )
  })

  it('with one byte changed, has the name that OpenSSL sees, or is refused by one of them', async () => {
    const bytes = bytesOf(rows.find((row) => row.name === 'by hand, TLS 1.2') as Row)
    let compared = 0
    for (let at = 5; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] as number) ^ 1
      const read = readClientHello(changed)
      if (read.kind !== 'hello') continue
      const seen = await nameSeenByOpenSsl(changed)
      if (seen === undefined) continue
      expect([at, read.serverName]).toEqual([at, seen])
      compared += 1
    }
    expect(compared).toBeGreaterThan(40)
  })
})
