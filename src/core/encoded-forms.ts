/**
 * The ways in which a server is likely to give a value back: as it is and in small or capital letters; percent-encoded
 * once or twice, escaped for JSON or HTML, where needed or every character; in base64 at any alignment, in hex, in UTF-16.
 * The list is finite on purpose; docs/limitations.md shows what it does not hold (reversed, interleaved, compressed,
 * re-wrapped …).
 *
 * Each form comes with what takes its place: the placeholder as it is, and one of exactly as many bytes, for bodies that
 * tell lengths: the placeholder cut, or padded with blanks, to the bytes of the value and then in that form.
 */
import type { Needle } from './streaming-replace.ts'

/** Plain values read the same in a URL, in JSON and in HTML. */
const PLAIN = /^[A-Za-z0-9._~-]*$/
/** Characters of base64 that also depend on the 0, 1 or 2 bytes before the value. */
const BASE64_SKIP = [0, 2, 3] as const
const BASE64_BITS = 6
const BLANK = 0x20
/** Of UTF-16. */
const LAST_UNIT = 0xffff

/** How one character is written, whatever it is. */
interface Spelling {
  readonly write: (code: number) => string
  /** What `write` gives for the first 256, so that long values are prepared fast. */
  readonly known: readonly string[]
  /** Characters beyond the first plane are written in two units. */
  readonly ofUnits: boolean
}

const COLONS = inBothCases((digits) => `${digits}:`, 2)
const PERCENT = inBothCases((digits) => `%${digits}`, 2)
const ESCAPES = inBothCases((digits) => `\\u${digits}`, 4, true)
const ENTITIES = [...inBothCases((digits) => `&#x${digits};`, 1), spelling((code) => `&#${code};`)]

function inBothCases(write: (digits: string) => string, digits: number, ofUnits = false): Spelling[] {
  return [
    spelling((code) => write(hexOf(code, digits)), ofUnits),
    spelling((code) => write(hexOf(code, digits).toUpperCase()), ofUnits),
  ]
}

function spelling(write: (code: number) => string, ofUnits = false): Spelling {
  return { write, known: Array.from({ length: 256 }, (_none, code) => write(code)), ofUnits }
}

/** The value itself first; a form may come twice. */
export function encodedForms(value: Buffer, placeholder: Buffer): readonly Needle[] {
  const needed = Array.from(neededForms(value), (form) => standingFor(form, placeholder))
  const everyByte = everyByteForms(value).map((form, i) =>
    standingFor(form, placeholder, () => everyByteForms(cutOrPadded(placeholder, value.length))[i]),
  )
  const wide = wideForms(value).map((form, i) =>
    standingFor(
      form,
      latin1(wideForms(placeholder)[i] ?? ''),
      () => wideForms(cutOrPadded(placeholder, value.length))[i],
    ),
  )
  return [...needed, ...everyByte, ...wide].filter(({ find }) => find.length >= value.length)
}

/** As far as it fits, and blanks behind it. */
export function cutOrPadded(placeholder: Buffer, length: number): Buffer {
  const fitted = Buffer.alloc(length, BLANK)
  placeholder.copy(fitted)
  return fitted
}

function standingFor(form: string, replacement: Buffer, inForm: () => string | undefined = () => undefined): Needle {
  const sameLength = () => {
    const fitted = inForm()
    return fitted?.length === form.length ? latin1(fitted) : cutOrPadded(replacement, form.length)
  }
  return { find: latin1(form), replacement, sameLength }
}

/** The value, in other cases, and escaped where that is needed. */
function neededForms(value: Buffer): ReadonlySet<string> {
  const bytes = value.toString('latin1')
  const text = textOf(value)
  const forms = new Set([bytes])
  if (text !== null) forms.add(utf8(text.toLowerCase())).add(utf8(text.toUpperCase()))
  if (PLAIN.test(bytes)) return forms
  percentForms(bytes, forms)
  if (text === null) return forms
  jsonForms(text, forms)
  htmlForms(text, forms)
  return forms
}

/** RFC 3986 in both cases; `encodeURIComponent`, which leaves !'()*; HTML forms, where a blank is `+`; each also twice. */
function percentForms(bytes: string, forms: Set<string>): void {
  const strict = percent(bytes, /[^A-Za-z0-9._~-]/g)
  const once = [
    strict,
    strict.replace(/%../g, (escape) => escape.toLowerCase()),
    percent(bytes, /[^A-Za-z0-9._~!'()*-]/g),
    percent(bytes, /[^A-Za-z0-9._* -]/g).replaceAll(' ', '+'),
  ]
  for (const form of once) forms.add(form)
  for (const form of once) forms.add(form.replaceAll('%', '%25').replaceAll('+', '%2B'))
}

function percent(bytes: string, outside: RegExp): string {
  return bytes.replace(outside, (character) => `%${hexOf(character.charCodeAt(0), 2).toUpperCase()}`)
}

/** As JavaScript, PHP (`\/`), Go (`\u003c`), Python (ASCII only) and .NET (`\u0022`, `\u002B`) write a string. */
function jsonForms(text: string, forms: Set<string>): void {
  const json = JSON.stringify(text).slice(1, -1)
  const ascii = json.replace(/[^\0-\x7f]/g, unicodeEscape)
  for (const form of [json, ascii]) {
    forms.add(utf8(form)).add(utf8(form.replaceAll('/', '\\/')))
    forms.add(utf8(form.replace(/[<>&]/g, unicodeEscape)))
  }
  const dotnet = ascii
    .replaceAll('\\"', '"')
    .replace(/["'<>&+`]/g, (character) => `\\u${hexOf(character.charCodeAt(0), 4).toUpperCase()}`)
  forms.add(dotnet.replace(/\\u[0-9a-f]{4}/g, (escape) => `\\u${escape.slice(2).toUpperCase()}`))
}

/** Quotes as most libraries, Go and Python write them. */
function htmlForms(text: string, forms: Set<string>): void {
  const base = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  forms.add(utf8(base))
  for (const [double, single] of [
    ['&quot;', "'"],
    ['&quot;', '&#39;'],
    ['&#34;', '&#39;'],
    ['&quot;', '&#x27;'],
  ] as const) {
    forms.add(utf8(base.replace(/["']/g, (quote) => (quote === '"' ? double : single))))
  }
}

/** Forms that change every byte: always as many, in the same order; empty where the value has no such form. */
function everyByteForms(value: Buffer): string[] {
  const text = textOf(value) ?? ''
  const hex = value.toString('hex')
  return [
    ...base64Forms(value),
    hex,
    hex.toUpperCase(),
    ...COLONS.map((spelling) => spelled(value.toString('latin1'), spelling).slice(0, -1)),
    ...PERCENT.map((spelling) => spelled(value.toString('latin1'), spelling)),
    ...ESCAPES.map((spelling) => spelled(text, spelling)),
    ...ENTITIES.map((spelling) => spelled(text, spelling)),
  ]
}

function spelled(text: string, { known, write, ofUnits }: Spelling): string {
  let out = ''
  for (let at = 0; at < text.length; at++) {
    const code = ofUnits ? text.charCodeAt(at) : (text.codePointAt(at) as number)
    if (code > LAST_UNIT) at++
    out += known[code] ?? write(code)
  }
  return out
}

/** At each of the three alignments the characters that depend on the value alone, in the standard alphabet and that for URLs. */
export function base64Forms(value: Buffer): string[] {
  return BASE64_SKIP.flatMap((skip, before) => {
    const padded = before === 0 ? value : Buffer.concat([Buffer.alloc(before), value])
    const encoded = padded.toString('base64').slice(skip, Math.floor((padded.length * 8) / BASE64_BITS))
    return [encoded, encoded.replaceAll('+', '-').replaceAll('/', '_')]
  })
}

/** UTF-16 in both byte orders; of ASCII they differ in the zero before the first or after the last character alone. */
function wideForms(value: Buffer): string[] {
  const wide = Buffer.from(textOf(value) ?? '', 'utf16le')
  const swapped = Buffer.from(wide).swap16()
  return [wide.toString('latin1', 0, Math.max(0, wide.length - 1)), swapped.toString('latin1', 1)]
}

/** Null for bytes that are no UTF-8. */
function textOf(value: Buffer): string | null {
  const text = value.toString('utf8')
  return Buffer.from(text, 'utf8').equals(value) ? text : null
}

function unicodeEscape(character: string): string {
  return `\\u${hexOf(character.charCodeAt(0), 4)}`
}

function hexOf(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0')
}

/** UTF-8 bytes as a latin1 string, the form in which forms are compared. */
function utf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
