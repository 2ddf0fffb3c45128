/**
 * How a value is written in a body so that the reader gets exactly that value and nothing of the structure changes.
 *
 * A value that has no such writing is refused with the reason, never cut or repaired.
 */
import type { SecretValue } from './secret.ts'

/** `why` completes "it cannot be put there: …" and holds nothing of the value. */
export type Written = { readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly why: string }

export type Writing = (value: SecretValue) => Written

/** RFC 3986 unreserved: these stand for themselves in every text syntax. */
const PLAIN = /^[A-Za-z0-9._~-]+$/
// oxlint-disable-next-line no-control-regex -- what XML 1.0 has no spelling for
const NOT_XML = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/

const JSON_SHORT: Readonly<Record<number, string>> = {
  0x08: '\\b',
  0x09: '\\t',
  0x0a: '\\n',
  0x0c: '\\f',
  0x0d: '\\r',
  0x22: '\\"',
  0x5c: '\\\\',
}
/** Byte -> what stands for it inside a JSON string (RFC 8259 7), as latin1. */
const JSON_TEXT: readonly string[] = Array.from({ length: 256 }, (_none, byte) => {
  if (byte < 0x20) return JSON_SHORT[byte] ?? `\\u${byte.toString(16).padStart(4, '0')}`
  return JSON_SHORT[byte] ?? String.fromCharCode(byte)
})
/** Byte -> itself when unreserved, else its percent-encoding: read alike by every form parser. */
const FORM_TEXT: readonly string[] = Array.from({ length: 256 }, (_none, byte) => {
  const character = String.fromCharCode(byte)
  return PLAIN.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})
/** White space too, because XML readers turn line ends in text, and all of it in attributes, into something else. */
const XML_TEXT: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
}

/** Inside the quotes of a JSON string. */
export const writeJson: Writing = (value) => {
  const bytes = value.reveal()
  return textOf(bytes) === null ? NOT_UTF8 : mapped(bytes, JSON_TEXT)
}

/** The value of a form field. */
export const writeForm: Writing = (value) => mapped(value.reveal(), FORM_TEXT)

/** As it is. */
export const writeRaw: Writing = (value) => ({ ok: true, bytes: value.reveal() })

/** As it is, where all has to be UTF-8. */
export const writeText: Writing = (value) => {
  const bytes = value.reveal()
  return textOf(bytes) === null ? NOT_UTF8 : { ok: true, bytes }
}

/** As it is, where the syntax is not known. */
export const writePlain: Writing = (value) => {
  const bytes = value.reveal()
  if (PLAIN.test(bytes.toString('latin1'))) return { ok: true, bytes }
  return refused('it has characters that this media type may need escaped')
}

/** Text or an attribute's value in XML. */
export const writeXml: Writing = (value) => {
  const text = textOf(value.reveal())
  if (text === null) return NOT_UTF8
  if (NOT_XML.test(text)) return refused('it contains a character that XML cannot hold')
  return { ok: true, bytes: Buffer.from(text.replace(/[&<>"'\t\n\r]/g, (character) => XML_TEXT[character] as string)) }
}

/** Inside a CDATA section, which has no escapes and ends at `]]>`, part of which may stand around the value. */
export const writeCdata: Writing = (value) => {
  const bytes = value.reveal()
  const text = textOf(bytes)
  if (text === null) return NOT_UTF8
  if (NOT_XML.test(text)) return refused('it contains a character that XML cannot hold')
  if (/[\]>\r]/.test(text)) return refused('it contains a character that a CDATA section cannot hold')
  return { ok: true, bytes }
}

function mapped(bytes: Buffer, table: readonly string[]): Written {
  let text = ''
  for (const byte of bytes) text += table[byte] as string
  return { ok: true, bytes: Buffer.from(text, 'latin1') }
}

/** Null when the bytes are not UTF-8. */
function textOf(bytes: Buffer): string | null {
  const text = bytes.toString('utf8')
  return Buffer.from(text, 'utf8').equals(bytes) ? text : null
}

const NOT_UTF8: Written = Object.freeze({ ok: false, why: 'it is not UTF-8' })

function refused(why: string): Written {
  return { ok: false, why }
}
