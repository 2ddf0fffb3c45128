/**
 * Dotenv files, read and written: `NAME=value` lines as shells and the dotenv packages agree on them.
 *
 * Unquoted values end at ` #` and lose the spaces around; in single quotes everything is literal; in double quotes `\n \r \t \" \\
 * \$` are escapes; quoted values may span lines. Nothing is expanded. A file with any mistake is refused whole, with the line of
 * each and never its text. What `formatDotenv` writes, `parseDotenv` reads back the same.
 */
import { CoatcheckError } from './errors.ts'

export interface DotenvEntry {
  readonly name: string
  readonly value: string
}

const MAX_ENTRIES = 10_000
const ASSIGNMENT = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*/
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$' }

/** Throws `invalid_input` naming the lines that are wrong. */
export function parseDotenv(text: string): readonly DotenvEntry[] {
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)
  const entries = new Map<string, string>()
  const mistakes: string[] = []
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? ''
    const number = at + 1
    if (/^[ \t]*(?:#.*)?$/.test(line)) {
      at++
      continue
    }
    const assignment = ASSIGNMENT.exec(line)
    const read = assignment === null ? null : readValue(lines, at, assignment[0].length)
    const name = assignment?.[1] ?? ''
    if (read === null) mistakes.push(`line ${number} is not NAME=value`)
    else if (read.value === null) mistakes.push(`the quote that line ${number} opens is not closed, or text follows it`)
    else if (entries.has(name)) mistakes.push(`line ${number} names ${name} again`)
    else entries.set(name, read.value)
    at += read?.lines ?? 1
  }
  if (entries.size > MAX_ENTRIES) mistakes.push(`there are more than ${MAX_ENTRIES} entries`)
  if (mistakes.length === 0) return [...entries].map(([name, value]) => ({ name, value }))
  throw new CoatcheckError(
    'invalid_input',
    `The dotenv text has mistakes: ${mistakes.slice(0, 20).join('; ')}.`,
    'Write one NAME=value a line; put values with spaces, quotes or # into double quotes.',
  )
}

/** Whether such a file can hold the name. */
export function isDotenvName(name: string): boolean {
  return NAME.test(name)
}

/** Every value in double quotes, in the order given. Throws `invalid_input` for a name that such a file cannot hold. */
export function formatDotenv(entries: readonly DotenvEntry[]): string {
  return entries
    .map(({ name, value }) => {
      if (isDotenvName(name) && !value.includes('\0')) return `${name}="${escape(value)}"\n`
      throw new CoatcheckError(
        'invalid_input',
        isDotenvName(name) ? `The value of ${name} is not text.` : `A dotenv file cannot hold the name ${name}.`,
        'Export it as JSON, or leave it out.',
      )
    })
    .join('')
}

function escape(value: string): string {
  const written: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }
  return value.replaceAll(/[\n\r\t"\\$]/g, (character) => written[character] ?? `\\${character}`)
}

interface ReadValue {
  /** Null when its quote is wrong. */
  readonly value: string | null
  /** Lines it takes. */
  readonly lines: number
}

function readValue(lines: readonly string[], at: number, start: number): ReadValue {
  const line = lines[at] ?? ''
  const quote = line[start]
  if (quote !== '"' && quote !== "'") return { value: unquoted(line.slice(start)), lines: 1 }
  let value = ''
  let from = start + 1
  for (let next = at; next < lines.length; next++) {
    const read = quote === '"' ? readDouble(lines[next] ?? '', from) : readSingle(lines[next] ?? '', from)
    value += read.text
    if (read.end !== null) {
      const rest = (lines[next] ?? '').slice(read.end + 1)
      return { value: /^[ \t]*(?:#.*)?$/.test(rest) ? value : null, lines: next - at + 1 }
    }
    value += '\n'
    from = 0
  }
  return { value: null, lines: 1 }
}

/** Up to the closing quote, whose place is `end`; null when the line has none. */
function readSingle(line: string, from: number): { readonly text: string; readonly end: number | null } {
  const end = line.indexOf("'", from)
  return end < 0 ? { text: line.slice(from), end: null } : { text: line.slice(from, end), end }
}

function readDouble(line: string, from: number): { readonly text: string; readonly end: number | null } {
  let text = ''
  for (let at = from; at < line.length; at++) {
    const character = line.charAt(at)
    if (character === '"') return { text, end: at }
    const escaped = character === '\\' ? ESCAPES[line.charAt(at + 1)] : undefined
    if (escaped === undefined) text += character
    else {
      text += escaped
      at++
    }
  }
  return { text, end: null }
}

function unquoted(text: string): string {
  const comment = text.search(/(?:^|[ \t])#/)
  return (comment < 0 ? text : text.slice(0, comment)).trim()
}
