/**
 * Where durable events are shipped to, as JSON lines. The database is the truth: a sink that fails, fills or blocks
 * loses lines, counts them and says so once; it never delays or fails an exchange.
 */
import { fstatSync } from 'node:fs'
import { isatty } from 'node:tty'
import pino from 'pino'
import { CoatcheckError } from '../core/errors.ts'
import type { Log } from '../core/ports.ts'
import type { Scrubber } from '../core/scrub.ts'
import { escapeUnprintable } from '../core/scrub.ts'

export interface AuditSink {
  /** As configured: `stdout`, `file:PATH`. */
  readonly name: string
  /** Blocks of lines that were lost. */
  readonly lost: number
  /** One or more lines, each ended by a newline. Never throws. */
  write(lines: string): void
  close(): void
}

/** Waiting for a slow reader of standard output; beyond it lines are lost. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024
/** How long a failed sink is left alone. */
const REOPEN_MS = 1000

/** Opens `stdout` or `file:PATH`; `none` is undefined. Throws `config_invalid` for anything else or a file that cannot be opened. */
export function openSink(spec: string, { scrub, log }: { scrub: Scrubber; log: Log }): AuditSink | undefined {
  if (spec === 'none') return undefined
  if (spec === 'stdout') return new LineSink(spec, 1, scrub, log)
  if (spec.startsWith('file:') && spec.length > 'file:'.length) return new LineSink(spec, spec.slice(5), scrub, log)
  throw new CoatcheckError(
    'config_invalid',
    `"${spec}" is no audit sink.`,
    'Use stdout, file:/path/to/audit.jsonl or none.',
  )
}

/** Whether that descriptor is of a file, or of a device that is no terminal, such as /dev/null. */
function isFile(descriptor: number): boolean {
  const stat = fstatSync(descriptor)
  return stat.isFile() || (stat.isCharacterDevice() && !isatty(descriptor))
}

type Destination = ReturnType<typeof pino.destination>

class LineSink implements AuditSink {
  readonly name: string
  lost = 0
  readonly #target: number | string
  readonly #scrub: Scrubber
  readonly #log: Log
  #destination: Destination | null
  #failing = false
  #failedAt = -Infinity

  constructor(name: string, target: number | string, scrub: Scrubber, log: Log) {
    this.name = name
    this.#target = target
    this.#scrub = scrub
    this.#log = log
    try {
      this.#destination = this.#open()
    } catch (cause) {
      throw new CoatcheckError(
        'config_invalid',
        `The audit sink ${name} cannot be opened.`,
        'Check its path and mode.',
        {
          cause,
        },
      )
    }
  }

  write(lines: string): void {
    if (this.#destination === null && performance.now() - this.#failedAt < REOPEN_MS) {
      this.lost += 1
      return
    }
    try {
      // A failure may have left half a line.
      const torn = this.#destination === null
      this.#destination ??= this.#open()
      this.#destination.write(escapeUnprintable(this.#scrub.scrub(torn ? `\n${lines}` : lines)))
    } catch (error) {
      this.#fail(error)
    }
  }

  close(): void {
    this.#destination?.end()
    this.#destination = null
  }

  /** A file does not block for long, a pipe may block for ever: only files are written before the call returns. */
  #open(): Destination {
    const destination = pino.destination({
      dest: this.#target,
      sync: typeof this.#target === 'string' || isFile(this.#target),
      append: true,
      mkdir: true,
      mode: 0o600,
      maxLength: MAX_WAITING_BYTES,
    })
    destination.on('error', (error: Error) => this.#fail(error, destination))
    destination.on('drop', () => this.#lose(new Error('its reader is too slow')))
    destination.on('write', () => {
      if (this.#failing) this.#log.info({ sink: this.name, lost: this.lost }, 'An audit sink works again.')
      this.#failing = false
    })
    return destination
  }

  /** Drops the destination with what it holds; a later write opens another. */
  #fail(error: unknown, destination = this.#destination): void {
    if (destination !== this.#destination) return
    this.#lose(error)
    this.#destination = null
    this.#failedAt = performance.now()
    destination?.destroy()
  }

  #lose(error: unknown): void {
    this.lost += 1
    if (!this.#failing) this.#log.error({ sink: this.name, error }, 'An audit sink fails; its lines are lost.')
    this.#failing = true
  }
}
