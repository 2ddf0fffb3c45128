/**
 * Where a secret's value comes from: a prompt without echo, standard input, or a file. Never an argument, which the
 * process list and the shell's history would keep.
 */
import { promises as fs } from 'node:fs'
import { Failure, usage } from './failure.ts'
import type { CliInput, CliIo } from './io.ts'
import { write } from './output.ts'

export interface ValueSource {
  readonly valueStdin?: boolean
  readonly valueFile?: string
}

const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
const BACKSPACE = new Set(['\u007f', '\b'])

/** The value as text. One trailing line break is not part of it. `what` is its word in options and messages. */
export async function readValue(io: CliIo, source: ValueSource, prompt: string, what = 'value'): Promise<string> {
  if (source.valueStdin === true && source.valueFile !== undefined) {
    throw usage(`--${what}-stdin and --${what}-file exclude each other.`, 'Give one of them.')
  }
  const value = await readFrom(io, source, prompt, what)
  if (value === '') throw usage(`The ${what} is empty.`, 'Give at least one character.')
  return value
}

/** True when there is a person to ask. */
export function isAsked(io: CliIo, source: ValueSource): boolean {
  return source.valueStdin !== true && source.valueFile === undefined && io.stdin.isTTY === true
}

/** The whole of standard input as text; what it holds is not asked for. */
export async function readStandardInput(io: CliIo): Promise<string> {
  return textOf(await readAll(io.stdin), 'text')
}

async function readFrom(io: CliIo, source: ValueSource, prompt: string, what: string): Promise<string> {
  if (source.valueFile !== undefined) return textOf(await fs.readFile(source.valueFile), what)
  if (source.valueStdin === true) return textOf(await readAll(io.stdin), what)
  if (io.stdin.isTTY === true && io.stdin.setRawMode !== undefined) return await ask(io, prompt, false)
  throw usage(
    `There is no terminal to ask for the ${what} on.`,
    `Pipe it in with --${what}-stdin, or name a file with --${what}-file.`,
  )
}

async function readAll(input: CliInput): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Uint8Array))
  return Buffer.concat(chunks)
}

function textOf(bytes: Buffer, what: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return text.replace(/\r?\n$/, '')
  } catch {
    throw usage(`The ${what} is not UTF-8 text.`, 'Encode binary values, for example as base64.')
  }
}

/** A line that is shown as it is typed, for what is no secret. There must be a terminal. */
export async function askLine(io: CliIo, prompt: string): Promise<string> {
  return await ask(io, prompt, true)
}

/** The terminal is given back as it was, whatever ends the reading. */
async function ask(io: CliIo, prompt: string, shown: boolean): Promise<string> {
  const { stdin } = io
  // Before the prompt: whoever answers it at once must not be echoed.
  stdin.setRawMode?.(true)
  try {
    await write(io.stderr, prompt)
    return await readLine(io, shown)
  } finally {
    stdin.setRawMode?.(false)
    stdin.pause()
    await write(io.stderr, '\n')
  }
}

/** The terminal itself shows nothing. */
async function readLine({ stdin, stderr }: CliIo, shown: boolean): Promise<string> {
  const typed: string[] = []
  const decoder = new TextDecoder()
  return await new Promise<string>((resolve, reject) => {
    const finish = (settle: () => void): void => {
      stdin.off('data', onData)
      stdin.off('end', onEnd)
      settle()
    }
    const onEnd = (): void => finish(() => reject(cancelled()))
    const onData = (chunk: Uint8Array): void => {
      for (const char of decoder.decode(chunk, { stream: true })) {
        if (char === CTRL_C || char === CTRL_D) return finish(() => reject(cancelled()))
        if (char === '\r' || char === '\n') return finish(() => resolve(typed.join('')))
        const erased = BACKSPACE.has(char)
        if (shown) stderr.write(echoOf(char, erased && typed.length > 0))
        if (erased) typed.pop()
        else typed.push(char)
      }
    }
    stdin.on('data', onData)
    stdin.on('end', onEnd)
    stdin.resume()
  })
}

/** Nothing that the terminal would take as a command. */
function echoOf(char: string, erases: boolean): string {
  if (erases) return '\b \b'
  return /^[ -~]$/.test(char) ? char : ''
}

function cancelled(): Failure {
  return new Failure('cancelled', 'Cancelled: nothing was stored.', '')
}
