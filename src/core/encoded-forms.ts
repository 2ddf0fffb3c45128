/**
 * The ways in which a server is likely to give a value back: as it is, percent-encoded once or twice, escaped for JSON or
 * HTML, in base64 at any alignment, in hex. The list is finite on purpose; docs/limitations.md shows what it does not hold
 * (reversed, interleaved, compressed, re-wrapped, UTF-16 …).
 */

/** Plain values read the same in a URL, in JSON and in HTML. */
const PLAIN = /^[A-Za-z0-9._~-]*$/
/** Characters of base64 that also depend on the 0, 1 or 2 bytes before the value. */
const BASE64_SKIP = [0, 2, 3] as const
const BASE64_BITS = 6

/** Distinct forms, the value itself first, all bytes. */
export function encodedForms(value: Buffer): readonly Buffer[] {
  const latin1 = value.toString('latin1')
  const forms = new Set([latin1])
  if (!PLAIN.test(latin1)) {
    percentForms(latin1, forms)
    const text = value.toString('utf8')
    if (Buffer.from(text, 'utf8').equals(value)) {
      jsonForms(text, forms)
      htmlForms(text, forms)
    }
  }
  base64Forms(value, forms)
  const hex = value.toString('hex')
  forms.add(hex).add(hex.toUpperCase())
  return Array.from(forms, (form) => Buffer.from(form, 'latin1'))
}

/** RFC 3986 in both cases; `encodeURIComponent`, which leaves !'()*; HTML forms, where a blank is `+`; each also twice. */
function percentForms(latin1: string, forms: Set<string>): void {
  const strict = percent(latin1, /[^A-Za-z0-9._~-]/g)
  const once = [
    strict,
    strict.replace(/%../g, (escape) => escape.toLowerCase()),
    percent(latin1, /[^A-Za-z0-9._~!'()*-]/g),
    percent(latin1, /[^A-Za-z0-9._* -]/g).replaceAll(' ', '+'),
  ]
  for (const form of once) forms.add(form)
  for (const form of once) forms.add(form.replaceAll('%', '%25').replaceAll('+', '%2B'))
}

function percent(latin1: string, outside: RegExp): string {
  return latin1.replace(outside, (character) => `%${hexOf(character, 2).toUpperCase()}`)
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
    .replace(/["'<>&+`]/g, (character) => `\\u${hexOf(character, 4).toUpperCase()}`)
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

/** The characters that depend on the value alone, whatever stands before and after it. */
function base64Forms(value: Buffer, forms: Set<string>): void {
  for (const [before, skip] of BASE64_SKIP.entries()) {
    const padded = before === 0 ? value : Buffer.concat([Buffer.alloc(before), value])
    const encoded = padded.toString('base64').slice(skip, Math.floor((padded.length * 8) / BASE64_BITS))
    forms.add(encoded).add(encoded.replaceAll('+', '-').replaceAll('/', '_'))
  }
}

function unicodeEscape(character: string): string {
  return `\\u${hexOf(character, 4)}`
}

function hexOf(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, '0')
}

/** UTF-8 bytes as a latin1 string, the form in which `forms` are compared. */
function utf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}
