/** Ways in which an upstream may give a value back: those a program would use, and those that somebody who means to might. */

export interface EchoForm {
  readonly name: string
  /** The echo: several where it depends on what stands before the value. Bytes as latin1. */
  readonly texts: (value: string) => readonly string[]
}

const one =
  (encode: (value: string) => string) =>
  (value: string): readonly string[] => [encode(value)]
const bytes = (value: string): number[] => [...Buffer.from(value, 'latin1')]
const each = (encode: (byte: number) => string) => one((value) => bytes(value).map(encode).join(''))
const hex = (byte: number): string => byte.toString(16).padStart(2, '0')
const percent = (value: string): string =>
  value.replace(/[^A-Za-z0-9._~-]/g, (character) => `%${hex(character.charCodeAt(0)).toUpperCase()}`)
/** With 0, 1 and 2 bytes before the value, which then stands at each alignment. */
const aligned = (encode: (value: string) => string) => (value: string) =>
  ['', ':', '::'].map((before) => encode(`${before}${value}.`))
const HTML: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

function base32(value: string): string {
  const bits = bytes(value)
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('')
  return (bits.match(/.{1,5}/g) ?? []).map((five) => BASE32[Number.parseInt(five.padEnd(5, '0'), 2)]).join('')
}

function rot13(value: string): string {
  return value.replace(/[a-z]/gi, (c) => String.fromCharCode(c.charCodeAt(0) + (c.toLowerCase() < 'n' ? 13 : -13)))
}

export const ECHO_FORMS: readonly EchoForm[] = [
  { name: 'as it is', texts: one((value) => value) },
  { name: 'percent-encoded where a URL needs it', texts: one(percent) },
  { name: 'percent-encoded twice', texts: one((value) => percent(percent(value))) },
  { name: 'percent-encoded, every byte', texts: each((byte) => `%${hex(byte)}`) },
  { name: 'JSON-escaped where JSON needs it', texts: one((value) => JSON.stringify(value).slice(1, -1)) },
  { name: 'JSON `\\u`, every character', texts: each((byte) => `\\u00${hex(byte)}`) },
  {
    name: 'HTML-escaped where HTML needs it',
    texts: one((value) => value.replace(/[&<>"']/g, (c) => HTML[c] as string)),
  },
  { name: 'HTML decimal entities, every character', texts: each((byte) => `&#${byte};`) },
  { name: 'HTML hexadecimal entities, every character', texts: each((byte) => `&#x${hex(byte)};`) },
  { name: 'base64, three alignments', texts: aligned((value) => Buffer.from(value, 'latin1').toString('base64')) },
  {
    name: 'base64 for URLs, three alignments',
    texts: aligned((value) => Buffer.from(value, 'latin1').toString('base64url')),
  },
  {
    name: 'base64 in lines of 76 characters, the value across two',
    texts: one((value) =>
      Buffer.from(`${'.'.repeat(45)}${value}`, 'latin1')
        .toString('base64')
        .replace(/.{76}/g, '$&\r\n'),
    ),
  },
  { name: 'base32', texts: one(base32) },
  { name: 'hex', texts: each(hex) },
  { name: 'hex with colons', texts: one((value) => bytes(value).map(hex).join(':')) },
  { name: 'quoted-printable, every byte', texts: each((byte) => `=${hex(byte).toUpperCase()}`) },
  { name: 'UTF-16, little endian', texts: one((value) => Buffer.from(value, 'utf16le').toString('latin1')) },
  { name: 'UTF-16, big endian', texts: one((value) => Buffer.from(value, 'utf16le').swap16().toString('latin1')) },
  { name: 'upper case', texts: one((value) => value.toUpperCase()) },
  { name: 'lower case', texts: one((value) => value.toLowerCase()) },
  { name: 'reversed', texts: one((value) => value.split('').reverse().join('')) },
  { name: 'rot13', texts: one(rot13) },
]
