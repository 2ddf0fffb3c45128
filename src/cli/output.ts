/**
 * Printing, and its rules:
 * - what was asked for goes to standard output, everything about it (warnings, notes, errors) to standard error;
 * - text that came from anywhere else never reaches a terminal as an escape: controls are written out (`\x1b`);
 * - colour only on a terminal, and not with NO_COLOR;
 * - JSON is one document, the API's own, unless a command says it prints one per line.
 */
import type { Writable } from 'node:stream'
import type { Failure } from './failure.ts'
import type { CliIo } from './io.ts'

/** C0 and C1 controls, DEL, line and paragraph separators, and what changes the direction of text. */
// oxlint-disable-next-line no-control-regex -- finding control characters is its purpose
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** One line that a terminal shows as it is. */
export function neutralise(text: string): string {
  return text.replace(UNSAFE, (char) => {
    const code = char.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** True for text that a terminal may get as it is. */
export function isPlain(text: string): boolean {
  return neutralise(text) === text
}

/** A document as JSON that a terminal may get as it is: JSON escapes C0 by itself, this the rest. */
export function jsonText(document: unknown, indent = 2): string {
  return JSON.stringify(document, null, indent).replace(UNSAFE, (char) =>
    char === '\n' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Writes and waits until it was taken, so that a slow reader slows us down. A reader that left is not an error. */
export async function write(stream: Writable, text: string | Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stream.write(text, (error) => {
      if (error === undefined || error === null || (error as NodeJS.ErrnoException).code === 'EPIPE') resolve()
      else reject(error)
    })
  })
}

/** Text from the server that is asked for as it is: byte for byte, but for what a terminal would take as commands. */
export async function printText(io: CliIo, text: string): Promise<void> {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/)
  await write(io.stdout, io.isTty ? lines.map((line) => `${neutralise(line)}\n`).join('') : text)
}

export async function printJson(io: CliIo, document: unknown): Promise<void> {
  await write(io.stdout, `${jsonText(document)}\n`)
}

/** One document on one line. */
export async function printJsonLine(io: CliIo, document: unknown): Promise<void> {
  await write(io.stdout, `${jsonText(document, 0)}\n`)
}

/** A line for people about what was done; `text` may hold data. */
export async function printLine(io: CliIo, text: string): Promise<void> {
  await write(io.stdout, `${neutralise(text)}\n`)
}

/** A note beside the output. */
export async function note(io: CliIo, text: string): Promise<void> {
  await write(io.stderr, `${neutralise(text)}\n`)
}

/** Aligned columns under bold headings; nothing but `empty`, as a note, when there are no rows. */
export async function printTable(
  io: CliIo,
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  empty: string,
): Promise<void> {
  if (rows.length === 0) return await note(io, empty)
  const safe = rows.map((row) => row.map(neutralise))
  const widths = headings.map((heading, column) =>
    Math.max(...[headings, ...safe].map((row) => width(row[column] ?? heading))),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => pad(cell, widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  await write(io.stdout, `${bold(io, line(headings))}\n${safe.map((row) => `${line(row)}\n`).join('')}`)
}

/** `name  value` lines, aligned; absent things are a dash. */
export async function printFields(io: CliIo, fields: readonly (readonly [string, string | null])[]): Promise<void> {
  const safe = fields.map(([name, value]) => [neutralise(name), neutralise(value ?? '-')] as const)
  const widest = Math.max(...safe.map(([name]) => width(name)))
  const lines = safe.map(([name, value]) => `${pad(name, widest)}  ${value}\n`)
  await write(io.stdout, lines.join(''))
}

/** Message and hint, or the error document. */
export async function printFailure(io: CliIo, failure: Failure, json: boolean): Promise<void> {
  const { error } = failure.document
  if (json) return await write(io.stderr, `${jsonText(failure.document)}\n`)
  // Only a list of mistakes in the settings has lines of its own; anything else stays one line.
  const lines = error.code === 'config_invalid' ? error.message.split('\n') : [error.message]
  for (const line of lines) await note(io, `error: ${line}`)
  if (error.hint !== '') await note(io, `  fix: ${error.hint}`)
  if (error.requestId !== null) await note(io, `  request: ${error.requestId}`)
}

function bold(io: CliIo, text: string): string {
  return hasColour(io) ? `\x1b[1m${text}\x1b[22m` : text
}

function hasColour(io: CliIo): boolean {
  return io.isTty && (io.env['NO_COLOR'] ?? '') === '' && io.env['TERM'] !== 'dumb'
}

function width(text: string): number {
  return Array.from(text).length
}

function pad(text: string, to: number): string {
  return text + ' '.repeat(Math.max(0, to - width(text)))
}
