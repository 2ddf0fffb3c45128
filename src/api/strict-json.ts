/**
 * JSON that means one thing only: UTF-8, no duplicate keys, no keys that reach a prototype, no lone surrogates,
 * bounded nesting. Two readers of the same bytes cannot disagree about them, and no error repeats any of them.
 */
import { CoatcheckError } from '../core/errors.ts'

/** No request of this API nests deeper than four. */
const MAX_DEPTH = 32
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype'])
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The parsed document, or undefined for an empty body. Throws `bad_request` with the rule that was broken. */
export function parseStrictJson(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined
  const text = decode(bytes)
  checkStructure(text)
  try {
    return JSON.parse(text) as unknown
  } catch {
    // The parser's own message quotes the text: it stays here.
    throw refused('The request body is not valid JSON.', 'Send one JSON document, as RFC 8259 defines it.')
  }
}

function decode(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw refused('The request body is not valid UTF-8.', 'Encode the JSON document as UTF-8.')
  }
}

/** Walks strings and brackets only: what is not JSON otherwise is left for the parser to refuse. */
function checkStructure(text: string): void {
  /** One entry per open bracket: the keys seen, or null inside an array. */
  const open: (Set<string> | null)[] = []
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]
    if (char === '{') open.push(new Set())
    else if (char === '[') open.push(null)
    else if (char === '}' || char === ']') open.pop()
    else if (char === '"') {
      const end = endOfString(text, at)
      checkString(text, at, end, open.at(-1) ?? null)
      at = end
    }
    if (open.length > MAX_DEPTH) throw refused(`The JSON nests deeper than ${MAX_DEPTH}.`, 'Send a flatter document.')
  }
}

/** Index of the closing quote; the text's length when there is none. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1
    else if (text[at] === '"') return at
  }
  return text.length
}

function checkString(text: string, start: number, end: number, keys: Set<string> | null): void {
  const string = unescaped(text.slice(start, end + 1))
  if (!string.isWellFormed()) {
    throw refused('The JSON has a string with half of a surrogate pair.', 'Send well-formed Unicode strings.')
  }
  if (keys === null || !isKey(text, end)) return
  if (FORBIDDEN_KEYS.has(string)) {
    throw refused(
      'The JSON has a key that is not allowed in any object.',
      'Leave out __proto__, constructor, prototype.',
    )
  }
  if (keys.has(string)) throw refused('The JSON has the same key twice in one object.', 'Send each key once.')
  keys.add(string)
}

function unescaped(literal: string): string {
  try {
    return JSON.parse(literal) as string
  } catch {
    throw refused('The request body is not valid JSON.', 'Send one JSON document, as RFC 8259 defines it.')
  }
}

function isKey(text: string, end: number): boolean {
  let at = end + 1
  while (at < text.length && ' \t\r\n'.includes(text.charAt(at))) at += 1
  return text[at] === ':'
}

function refused(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('bad_request', message, hint)
}
