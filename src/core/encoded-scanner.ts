/**
 * Counts placeholders that pass by in an encoded form, in which none is ever swapped: so that a report can say that
 * they were there. Any cut of the same bytes gives the same count, and at most a few hundred bytes are held.
 *
 * Found are tokens of which any characters are escaped, each in its own way: percent-encoding (`xcoat%5F…`, up to five
 * layers), JSON (`\u005f`, up to four backslashes), HTML and XML (`&#95;`, `&#x5f;`, `&lowbar;`, up to four layers);
 * and tokens in base64 (standard and URL, any alignment, on one line) and in UTF-16. Not found: any other form, and
 * one form inside another.
 *
 * Most bytes are never read: only where the tail of a token may stand is the token looked for.
 */
import { endsInBeginning, mayBeInTail, mayHoldEscape, scanRun } from './escaped-token.ts'
import { isToken, MARKER, TOKEN_LENGTH } from './placeholder.ts'
import type { Needle } from './streaming-replace.ts'
import { NeedleSet } from './streaming-replace.ts'
import { ESCAPED, FIRST_LOOK, nextTail, STRIDE, tailForms, WIDE } from './token-tail.ts'

/** How a placeholder is told once its marker was found. */
interface WideForm {
  /** Bytes from the marker's beginning on that hold the token. */
  readonly length: number
  decode(bytes: Buffer): string
}

const UTF16_STEP = 2
/** Characters of base64 that also depend on the 0, 1 or 2 bytes before the token. */
const BASE64_SKIP = [0, 2, 3] as const
const FORMS = new Map<Needle, WideForm>(
  [utf16(), ...BASE64_SKIP.map(base64)].map(({ marker, form }) => [{ find: marker, replacement: marker }, form]),
)
const MARKERS = new NeedleSet(FORMS.keys())
const LONGEST_MARKER = Math.max(...Array.from(FORMS.keys(), ({ find }) => find.length))
const LONGEST = Math.max(...Array.from(FORMS.values(), ({ length }) => length))
/** From the beginning of a token in a wide form to the first look inside its tail, at most. */
const BEFORE_LOOK = LONGEST_MARKER + STRIDE

export class EncodedPlaceholderScanner {
  #count = 0
  /** The end of what was pushed, when a token may begin there. */
  #held: Buffer | null = null
  /** In the bytes at hand: up to where each kind of token was counted, or where one begins that goes on beyond them. */
  #escapedFrom = 0
  #wideFrom = 0
  #escapedUnfinished = false
  #wideUnfinished = false

  /** Placeholders in encoded form so far. */
  get count(): number {
    return this.#count
  }

  push(chunk: Buffer): void {
    const bytes = this.#held === null ? chunk : Buffer.concat([this.#held, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const escapes = mayHoldEscape(bytes)
    const forms = escapes ? ESCAPED | WIDE : WIDE
    for (let at = nextTail(view, FIRST_LOOK, forms); at !== -1; at = nextTail(view, at + STRIDE, forms)) {
      const found = tailForms(view, at) & forms
      if ((found & ESCAPED) !== 0 && at >= this.#escapedFrom && mayBeInTail(bytes, at)) this.#scanEscaped(bytes, at)
      if ((found & WIDE) !== 0) this.#scanWide(bytes, at - BEFORE_LOOK, at + LONGEST_MARKER)
    }
    if (endsInBeginning(bytes, this.#escapedFrom, escapes)) this.#scanEscaped(bytes, bytes.length)
    this.#scanWide(bytes, bytes.length - LONGEST, bytes.length)
    this.#hold(bytes)
  }

  /** The run of bytes around `at` that can be in tokens. */
  #scanEscaped(bytes: Buffer, at: number): void {
    if (this.#escapedUnfinished) return
    const { count, end, unfinished } = scanRun(bytes, at, this.#escapedFrom)
    this.#count += count
    this.#escapedUnfinished = unfinished !== null
    this.#escapedFrom = unfinished ?? end
  }

  /** Tokens of which the marker stands between these places. */
  #scanWide(bytes: Buffer, from: number, to: number): void {
    if (this.#wideUnfinished) return
    const final = to < bytes.length
    const near = bytes.subarray(0, to)
    let at = Math.max(from, this.#wideFrom)
    for (let hit = MARKERS.find(near, at, final); hit !== null; hit = MARKERS.find(near, at, final)) {
      const form = hit.needle === null ? undefined : FORMS.get(hit.needle)
      if (form === undefined || hit.start + form.length > bytes.length) {
        this.#wideUnfinished = true
        this.#wideFrom = hit.start
        return
      }
      const found = isToken(form.decode(bytes.subarray(hit.start, hit.start + form.length)))
      if (found) this.#count++
      at = hit.start + (found ? form.length : 1)
    }
    this.#wideFrom = Math.max(at, to - LONGEST_MARKER)
  }

  #hold(bytes: Buffer): void {
    const escapedFrom = this.#escapedUnfinished ? this.#escapedFrom : bytes.length
    const wideFrom = this.#wideUnfinished ? this.#wideFrom : bytes.length
    const from = Math.min(escapedFrom, wideFrom)
    this.#held = from === bytes.length ? null : Buffer.from(bytes.subarray(from))
    this.#escapedFrom = escapedFrom - from
    this.#wideFrom = wideFrom - from
    this.#escapedUnfinished = false
    this.#wideUnfinished = false
  }
}

/** Both byte orders: without the zero before the first or after the last character they are the same. */
function utf16(): { marker: Buffer; form: WideForm } {
  return {
    marker: Buffer.from(MARKER, 'utf16le').subarray(0, -1),
    form: {
      length: TOKEN_LENGTH * UTF16_STEP - 1,
      decode(bytes) {
        let text = ''
        for (let at = 0; at < bytes.length; at++) {
          if (at % UTF16_STEP === 0) text += String.fromCharCode(bytes[at] as number)
          else if (bytes[at] !== 0) return ''
        }
        return text
      },
    },
  }
}

/** `before`: bytes before the token, modulo 3. Bits of the token's first character may lie before the marker found. */
function base64(skip: number, before: number): { marker: Buffer; form: WideForm } {
  const alone = Buffer.concat([Buffer.alloc(before), Buffer.from(MARKER, 'latin1')]).toString('base64')
  const length = Math.ceil(((before + TOKEN_LENGTH) * 4) / 3) - skip
  return {
    marker: Buffer.from(alone.slice(skip, Math.floor(((before + MARKER.length) * 4) / 3)), 'latin1'),
    form: {
      length,
      decode(bytes) {
        const decoded = Buffer.from('A'.repeat(skip) + bytes.toString('latin1'), 'base64').toString('latin1')
        return MARKER.charAt(0) + decoded.slice(before + 1, before + TOKEN_LENGTH)
      },
    },
  }
}
