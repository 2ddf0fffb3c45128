/**
 * Responses of HTTP/1.1 upstreams, from vectors: what is read of each, however its bytes are cut, and which are refused.
 * Adding a case is adding a row to test/vectors/upstream-responses/responses.json.
 */
import { readFileSync } from 'node:fs'
import { array, assert, constantFrom, nat, oneof, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ResponseReader } from '../../src/proxy/strict-response.ts'

interface Row {
  readonly what: string
  readonly method?: string
  /** One latin1 character per byte. */
  readonly bytes: string
  /** The connection ends after the bytes. */
  readonly close?: boolean
  readonly events: readonly string[]
}

const rows = JSON.parse(
  readFileSync(new URL('../vectors/upstream-responses/responses.json', import.meta.url), 'utf8'),
) as readonly Row[]
const MAX_HEAD = 1024

function fieldText(fields: readonly string[]): string {
  const pairs: string[] = []
  for (let i = 0; i < fields.length; i += 2) pairs.push(`${fields[i]}=${fields[i + 1]}`)
  return pairs.length === 0 ? '' : ` ${pairs.join('|')}`
}

/** What a reader tells of these pieces; data that came in several pieces as one. */
function read(pieces: readonly string[], { method = 'GET', close = false }: Partial<Row> = {}): readonly string[] {
  const events: string[] = []
  const reader = new ResponseReader(MAX_HEAD, {
    informational: (status, fields) => events.push(`informational ${status}${fieldText(fields)}`),
    head: (status, reason, fields) => events.push(`head ${status} ${reason}${fieldText(fields)}`),
    data: (chunk) => {
      const last = events.at(-1)
      if (last?.startsWith('data ')) events[events.length - 1] = last + chunk.toString('latin1')
      else events.push(`data ${chunk.toString('latin1')}`)
    },
    end: (trailers, reusable) => events.push(`end${fieldText(trailers)}${reusable ? ' reusable' : ''}`),
  })
  reader.begin(method)
  try {
    for (const piece of pieces) reader.push(Buffer.from(piece, 'latin1'))
    if (close) reader.close()
  } catch {
    events.push('error')
  }
  return events
}

describe('a response with', () => {
  it.each(rows)('$what is read as the vector says', (row) => {
    expect(read([row.bytes], row)).toEqual(row.events)
  })

  it.each(rows)('$what is read alike when it is cut at any byte', (row) => {
    for (let at = 1; at < row.bytes.length; at += 1) {
      expect(read([row.bytes.slice(0, at), row.bytes.slice(at)], row)).toEqual(row.events)
    }
    expect(read(Array.from(row.bytes), row)).toEqual(row.events)
  })
})

it('any cuts of any bytes give the same events', () => {
  const bytes = array(constantFrom('HTTP/1.1 200 OK\r\n', 'a: b\r\n', '\r\n', '2\r\n', 'ok', '0', ';', '\r', '\n', 'x'))
  const response = oneof(
    constantFrom(...rows.map((row) => row.bytes)),
    bytes.map((parts) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${parts.join('')}`),
    bytes.map((parts) => parts.join('')),
  )
  const alike = property(response, array(nat(200), { maxLength: 6 }), (text, cuts) => {
    const places = [...new Set(cuts)].sort((a, b) => a - b)
    const pieces = [0, ...places].map((from, i) => text.slice(from, places[i] ?? text.length))
    expect(read(pieces)).toEqual(read([text]))
  })
  assert(alike, { numRuns: 500 })
})

it.each([
  ['a head', 'HTTP/1.1 200 OK\r\nX: '],
  ['trailers', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: '],
  ['chunk extensions', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;'],
])('%s without end are refused before they fill memory', (_what, beginning) => {
  const pieces = [beginning, ...Array.from({ length: 20 }, () => 'x'.repeat(100))]
  expect(read(pieces).at(-1)).toBe('error')
})

it('chunk extensions are bounded in all, not only one by one', () => {
  const chunk = `1;${'x'.repeat(200)}\r\n1\r\n`
  const text = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(100)}0\r\n\r\n`
  expect(read([text]).at(-1)).toBe('error')
})
