/**
 * The one place where operator log lines are made: one JSON object a line, on standard error unless told otherwise,
 * written before the call returns.
 *
 * Rules. An error is its name, code, message and causes, and at level debug its stack; never its other members, which
 * hold requests, headers and options. Long texts are cut at 4 KiB, deep and wide objects are cut too. Every line passes
 * the scrubber as the last step, and every long text once more before it is cut, so that no half of a value stays.
 */
import pino from 'pino'
import type { Log } from './core/ports.ts'
import type { Scrubber } from './core/scrub.ts'
import { escapeUnprintable } from './core/scrub.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface LoggerOptions {
  readonly level: LogLevel
  readonly scrub: Scrubber
  /** Takes whole lines, newline included. Default: standard error, synchronous. */
  readonly destination?: { write(line: string): void }
}

const MAX_TEXT = 4096
const MAX_DEPTH = 4
const MAX_MEMBERS = 64

export function createLogger({ level, scrub, destination }: LoggerOptions): Log {
  const output = destination ?? standardError()
  const lines = {
    write: (line: string): void => {
      output.write(escapeUnprintable(scrub.scrub(line)))
    },
  }
  const root = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    lines,
  )
  const shape = new LogFields(scrub, level === 'debug')
  const at = (name: Exclude<LogLevel, 'silent'>) => (fields: object, message: string) => {
    if (root.isLevelEnabled(name)) root[name](shape.members(fields, 0), shape.text(message))
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** A log nobody takes must not stop or end the process: beyond 1 MiB lines are lost. */
function standardError(): { write(line: string): void } {
  const stream = pino.destination({ dest: 2, sync: true, maxLength: 1024 * 1024, retryEAGAIN: () => false })
  stream.on('error', () => undefined)
  return stream
}

/** What is left of arbitrary fields: plain data, bounded in every direction. */
class LogFields {
  readonly #scrub: Scrubber
  readonly #stacks: boolean

  constructor(scrub: Scrubber, stacks: boolean) {
    this.#scrub = scrub
    this.#stacks = stacks
  }

  text(text: string): string {
    if (text.length <= MAX_TEXT) return text
    const clean = this.#scrub.scrub(text)
    return clean.length <= MAX_TEXT ? clean : `${clean.slice(0, MAX_TEXT)}… (${text.length} characters)`
  }

  members(fields: object, depth: number): Record<string, unknown> {
    if (fields instanceof Error) return { error: this.#error(fields, depth) }
    const members = Object.entries(fields).slice(0, MAX_MEMBERS)
    return Object.fromEntries(members.map(([name, value]) => [this.text(name), this.#value(value, depth + 1)]))
  }

  #value(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return this.text(value)
    if (typeof value === 'bigint' || typeof value === 'symbol') return String(value)
    if (typeof value === 'function') return '[function]'
    if (typeof value !== 'object' || value === null) return value
    if (value instanceof Error) return this.#error(value, depth)
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      return this.#value((value.toJSON as () => unknown)(), depth + 1)
    }
    if (depth > MAX_DEPTH) return '[deep]'
    if (Array.isArray(value)) return value.slice(0, MAX_MEMBERS).map((item) => this.#value(item, depth + 1))
    return this.members(value, depth)
  }

  #error(error: Error, depth: number): Record<string, unknown> {
    const { code } = error as { code?: unknown }
    return {
      name: this.text(error.name),
      ...(typeof code === 'string' || typeof code === 'number' ? { code: this.#value(code, depth) } : {}),
      message: this.text(error.message),
      ...(this.#stacks && error.stack !== undefined ? { stack: this.text(error.stack) } : {}),
      ...(error.cause !== undefined && depth < MAX_DEPTH ? { cause: this.#value(error.cause, depth + 1) } : {}),
    }
  }
}
