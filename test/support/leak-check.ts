/**
 * Looks for a canary value in bytes it must not be in: the value and any 8-byte window of it, in every form a program
 * would give it (raw, case-folded, reversed, percent, base64 at three alignments, base32, hex, JSON, HTML, quoted-printable,
 * UTF-16, rot13, gzip, deflate, br, zstd).
 */
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib'

const WINDOW = 8

/** Letters that hexadecimal does not have: ids and hashes would hold a window of digits by chance, in a log of some size. */
const LETTERS = 'ghijklmnopqrstuv'

function randomLetters(): string {
  return Array.from(crypto.randomUUID().replaceAll('-', ''), (digit) => LETTERS[Number.parseInt(digit, 16)]).join('')
}

/** A fresh canary: unlike anything a program writes by itself. */
export function canary(test: string, random: string = randomLetters()): string {
  return `CNRY-${test}-${random}`
}

type Form = (window: string) => string

const text = (encoding: BufferEncoding) => (window: string) => Buffer.from(window, 'latin1').toString(encoding)

const FORMS: Readonly<Record<string, Form>> = {
  raw: (window) => window,
  reversed: (window) => Array.from(window).reverse().join(''),
  percent: (window) => [...Buffer.from(window)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  'percent twice': (window) =>
    [...Buffer.from(window)].map((byte) => `%25${byte.toString(16).padStart(2, '0')}`).join(''),
  hex: text('hex'),
  'hex delimited': (window) => [...Buffer.from(window)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
  'json escape': (window) => Array.from(window, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  'html decimal': (window) => Array.from(window, (c) => `&#${c.charCodeAt(0)};`).join(''),
  'html hex': (window) => Array.from(window, (c) => `&#x${c.charCodeAt(0).toString(16)};`).join(''),
  'quoted-printable': (window) =>
    [...Buffer.from(window)].map((byte) => `=${byte.toString(16).padStart(2, '0')}`).join(''),
  'utf-16': (window) => Buffer.from(window, 'utf16le').toString('latin1').toLowerCase(),
  rot13: (window) =>
    window.replace(/[a-z]/gi, (c) => String.fromCharCode(c.charCodeAt(0) + (c.toLowerCase() < 'n' ? 13 : -13))),
}

/** Alphabets whose case carries meaning are compared as they are; all else without case. */
function base64Forms(window: string): string[] {
  const forms: string[] = []
  for (const before of ['', 'x', 'xx']) {
    const encoded = Buffer.from(before + window).toString('base64')
    // Characters at either end also hold bits of the neighbours.
    const from = before.length === 0 ? 0 : before.length + 1
    const middle = encoded.slice(from, Math.floor(((before.length + window.length) * 8) / 6))
    forms.push(middle, middle.replaceAll('+', '-').replaceAll('/', '_'))
  }
  return forms
}

function windowsOf(value: string): string[] {
  // The fixed start of every canary may stand in names; only what is random counts.
  const random = value.slice(value.lastIndexOf('-') + 1)
  return Array.from({ length: Math.max(1, random.length - WINDOW + 1) }, (_none, i) => random.slice(i, i + WINDOW))
}

function unpacked(bytes: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (const open of [gunzipSync, inflateSync, inflateRawSync, brotliDecompressSync, zstdDecompressSync]) {
    try {
      found.push(open(bytes))
    } catch {
      // Not that coding.
    }
  }
  return found
}

/** Names of the forms in which (a window of) the value stands in the bytes; empty = clean. */
export function leaksIn(bytes: Buffer, value: string): string[] {
  const found = new Set<string>()
  for (const candidate of [bytes, ...unpacked(bytes)]) {
    const exact = candidate.toString('latin1')
    const folded = exact.toLowerCase()
    for (const window of windowsOf(value)) {
      for (const [name, form] of Object.entries(FORMS)) {
        if (folded.includes(form(window).toLowerCase())) found.add(name)
      }
      if (base64Forms(window).some((form) => exact.includes(form))) found.add('base64')
    }
  }
  return [...found]
}

/** Throws with the places and forms, never with the value. */
export function assertNoLeak(value: string, places: Readonly<Record<string, Buffer | string>>): void {
  const leaks = Object.entries(places).flatMap(([place, content]) => {
    const forms = leaksIn(Buffer.isBuffer(content) ? content : Buffer.from(content, 'latin1'), value)
    return forms.length === 0 ? [] : [`${place}: ${forms.join(', ')}`]
  })
  if (leaks.length > 0) throw new Error(`the value leaked into ${leaks.join('; ')}`)
}
