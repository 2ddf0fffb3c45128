/**
 * Counts placeholders that pass by in an encoded form, in which none is ever swapped: so that a report can say that
 * they were there. Any cut of the same bytes gives the same count, and at most a few hundred bytes are held.
 *
 * Found are tokens of which any characters are escaped, each in its own way: percent-encoding (`xcoat%5F…`, up to five
 * layers), JSON (`\u005f`, up to four backslashes), HTML and XML (`&#95;`, `&#x5f;`, `&lowbar;`, up to four layers);
 * and tokens in base64 (standard and URL, any alignment, on one line) and in UTF-16. Not found: any other form, and
 * one form inside another.
 */
import { scanEscapedTokens } from './escaped-token.ts'
import { isToken, MARKER, TOKEN_LENGTH } from './placeholder.ts'
import type { Needle } from './streaming-replace.ts'
import { NeedleSet } from './streaming-replace.ts'

/** How a placeholder is told once its marker was found. */
interface WideForm {
  /** Bytes from the marker's beginning on that hold the token. */
  readonly length: number
  decode(bytes: Buffer): string
}

const UTF16_STEP = 2
/** Characters of base64 that also depend on the 0, 1 or 2 bytes before the token. */
const BASE64_SKIP = [0, 2, 3] as const

export class EncodedPlaceholderScanner {
  readonly #forms = new Map<Needle, WideForm>()
  readonly #markers: NeedleSet
  #count = 0
  #escapedCarry: Buffer | null = null
  #wideCarry: Buffer | null = null

  constructor() {
    for (const { marker, form } of [utf16(), ...BASE64_SKIP.map(base64)]) {
      this.#forms.set({ find: marker, replacement: marker }, form)
    }
    this.#markers = new NeedleSet(this.#forms.keys())
  }

  /** Placeholders in encoded form so far. */
  get count(): number {
    return this.#count
  }

  push(chunk: Buffer): void {
    this.#escapedCarry = this.#scanEscaped(after(this.#escapedCarry, chunk))
    this.#wideCarry = this.#scanWide(after(this.#wideCarry, chunk))
  }

  /** Both return what may be the beginning of a token. */
  #scanEscaped(bytes: Buffer): Buffer | null {
    const { count, unfinished } = scanEscapedTokens(bytes)
    this.#count += count
    return unfinished === bytes.length ? null : Buffer.from(bytes.subarray(unfinished))
  }

  #scanWide(bytes: Buffer): Buffer | null {
    let from = 0
    for (let hit = this.#markers.find(bytes, from, false); hit !== null; hit = this.#markers.find(bytes, from, false)) {
      const form = hit.needle === null ? undefined : this.#forms.get(hit.needle)
      if (form === undefined || hit.start + form.length > bytes.length) return Buffer.from(bytes.subarray(hit.start))
      const found = isToken(form.decode(bytes.subarray(hit.start, hit.start + form.length)))
      if (found) this.#count++
      from = hit.start + (found ? form.length : 1)
    }
    return null
  }
}

function after(carry: Buffer | null, chunk: Buffer): Buffer {
  return carry === null ? chunk : Buffer.concat([carry, chunk])
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
