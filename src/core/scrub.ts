/**
 * The last layer before a line leaves for a log or a sink: no value opened lately stays in it, in any form a program
 * would give it, and no character a terminal or a line reader would act on.
 *
 * What it cannot do: values shorter than four bytes are left (they would tear up every line), and so is a value that
 * was cut, compressed or encrypted first. Nothing may rely on it.
 */
import { hash } from 'node:crypto'
import { base64Forms } from './encoded-forms.ts'
import type { SecretValue } from './secret.ts'

const MASK = '[secret]'
/** Characters compared at once; also the shortest form that is looked for. */
const WINDOW = 4
/** A form this long holds a window that begins at a multiple of four, wherever it stands in the line. */
const ALIGNED = 2 * WINDOW - 1
const BITS = 14
const MAX_VALUES = 1000
const MAX_CHARACTERS = 4 * 1024 * 1024

/** One form of a watched value and one window of it, which starts at `offset`. */
interface Needle {
  readonly text: string
  readonly offset: number
}

interface Watched {
  readonly needles: readonly Needle[]
  readonly characters: number
}

/** Watches the most recently opened values: at most 1000, and about 4 Mi characters in all their forms. */
export class Scrubber {
  readonly #digests = new WeakMap<SecretValue, string>()
  /** Oldest first. */
  readonly #watched = new Map<string, Watched>()
  readonly #byWindow = new Map<number, Needle[]>()
  /** How many needles share a window's slot. */
  readonly #slots = new Uint16Array(1 << BITS)
  /** A bit for each slot that is not empty: small enough to stay at hand, so that most positions of a line cost one look. */
  readonly #taken = new Int32Array(1 << (BITS - 5))
  #characters = 0
  #newest: SecretValue | null = null
  /** Needles too short to be found by aligned windows alone: while there are any, every window of a line is looked at. */
  #short = 0

  /** Call whenever a value is opened; watching again keeps it from being forgotten. */
  watch(value: SecretValue): void {
    if (value === this.#newest) return
    this.#newest = value
    const digest = this.#digests.get(value) ?? hash('sha256', value.reveal())
    this.#digests.set(value, digest)
    const known = this.#watched.get(digest)
    if (known !== undefined) {
      this.#watched.delete(digest)
      this.#watched.set(digest, known)
      return
    }
    this.#add(digest, formsOf(value.reveal()))
    for (const [oldest, watched] of this.#watched) {
      const full = this.#watched.size > MAX_VALUES || this.#characters > MAX_CHARACTERS
      if (!full || oldest === digest) break
      this.#forget(oldest, watched)
    }
  }

  /** The line without any watched value. A line that holds none comes back as it is. */
  scrub(line: string): string {
    if (this.#byWindow.size === 0) return line
    const spans = this.#find(line)
    if (spans.length === 0) return line
    spans.sort((a, b) => a.start - b.start)
    let out = ''
    let done = 0
    for (const { start, end } of spans) {
      if (start >= done) out += line.slice(done, start) + MASK
      done = Math.max(done, end)
    }
    return out + line.slice(done)
  }

  #find(line: string): { start: number; end: number }[] {
    const spans: { start: number; end: number }[] = []
    const step = this.#short === 0 ? WINDOW : 1
    const windows = windowsOf(line)
    const taken = this.#taken
    for (let at = 0; at + WINDOW <= line.length; at += step) {
      const window = windows.getInt32(at)
      const slot = slotOf(window)
      if ((((taken[slot >> 5] as number) >> (slot & 31)) & 1) === 0) continue
      for (const { text, offset } of this.#byWindow.get(window) ?? []) {
        const start = at - offset
        if (start >= 0 && line.startsWith(text, start)) spans.push({ start, end: start + text.length })
      }
    }
    return spans
  }

  #add(digest: string, forms: readonly string[]): void {
    const needles = forms.flatMap(needlesOf)
    const characters = forms.reduce((sum, text) => sum + text.length, 0)
    this.#watched.set(digest, { needles, characters })
    this.#characters += characters
    for (const needle of needles) {
      if (needle.text.length < ALIGNED) this.#short += 1
      const window = windowsOf(needle.text).getInt32(needle.offset)
      const same = this.#byWindow.get(window)
      if (same === undefined) this.#byWindow.set(window, [needle])
      else same.push(needle)
      this.#count(window, 1)
    }
  }

  #forget(digest: string, { needles, characters }: Watched): void {
    this.#watched.delete(digest)
    this.#characters -= characters
    for (const needle of needles) {
      if (needle.text.length < ALIGNED) this.#short -= 1
      const window = windowsOf(needle.text).getInt32(needle.offset)
      const rest = (this.#byWindow.get(window) ?? []).filter((other) => other !== needle)
      if (rest.length === 0) this.#byWindow.delete(window)
      else this.#byWindow.set(window, rest)
      this.#count(window, -1)
    }
  }

  #count(window: number, by: number): void {
    const slot = slotOf(window)
    const count = (this.#slots[slot] as number) + by
    this.#slots[slot] = count
    const bit = 1 << (slot & 31)
    const others = (this.#taken[slot >> 5] as number) & ~bit
    this.#taken[slot >> 5] = count === 0 ? others : others | bit
  }
}

/** A JSON line with DEL, C1 controls, line separators and direction marks escaped; C0 ones already are. */
export function escapeUnprintable(line: string): string {
  // Nearly every line is ASCII, which is seen at once, and DEL is the only one of it.
  if (Buffer.byteLength(line) === line.length && !line.includes('\x7f')) return line
  return line.replace(UNPRINTABLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const UNPRINTABLE = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** A long form by four windows in its middle, one of which is aligned wherever it stands; a short one by its middle. */
function needlesOf(text: string): Needle[] {
  if (text.length < ALIGNED) return [{ text, offset: (text.length - WINDOW) >> 1 }]
  const first = (text.length - ALIGNED) >> 1
  return [0, 1, 2, 3].map((shift) => ({ text, offset: first + shift }))
}

/** The low bytes of a text's characters. */
function windowsOf(text: string): DataView {
  const bytes = Buffer.from(text, 'latin1')
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function slotOf(window: number): number {
  return Math.imul(window, 0x9e3779b1) >>> (32 - BITS)
}

/** The value as it is, and as JSON, percent-encoding, base64 and hex would spell it. */
function formsOf(bytes: Buffer): readonly string[] {
  const hex = bytes.toString('hex')
  const forms = new Set([hex, hex.toUpperCase(), ...base64Forms(bytes)])
  for (const text of [bytes.toString('utf8'), bytes.toString('latin1')]) {
    const percent = encodeURIComponent(text)
    const json = jsonInner(text)
    forms.add(text).add(json).add(jsonInner(json))
    forms.add(escapeUnprintable(json)).add(percent)
    forms.add(percent.replace(/%[0-9A-F]{2}/g, (octet) => octet.toLowerCase()))
    forms.add(new URLSearchParams([['', text]]).toString().slice(1))
  }
  return [...forms].filter((form) => form.length >= WINDOW)
}

function jsonInner(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}
