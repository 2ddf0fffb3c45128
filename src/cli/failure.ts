/** How a command fails: a code, a message and a hint, as the API says them, and the process's exit code. */
import type { ErrorDocument } from '../api/contract.ts'

/** The exit codes are a contract: scripts branch on them. */
export const EXIT = { done: 0, failed: 1, usage: 2, refused: 3, unreachable: 4 } as const

/** What was asked was written wrongly: `usage` by the command line, the others by the server. */
const EXIT_OF_CODE: Readonly<Record<string, number>> = {
  usage: EXIT.usage,
  invalid_input: EXIT.usage,
  invalid_host: EXIT.usage,
  config_invalid: EXIT.usage,
  forbidden: EXIT.refused,
  unreachable: EXIT.unreachable,
}

/** The command line's side of the project's error: what the API's error document holds, thrown. */
export class Failure extends Error {
  readonly document: ErrorDocument

  constructor(code: string, message: string, hint: string, requestId: string | null = null) {
    super(message)
    this.name = 'Failure'
    this.document = { error: { code, message, hint, requestId } }
  }

  get exitCode(): number {
    return EXIT_OF_CODE[this.document.error.code] ?? EXIT.failed
  }
}

/** A call that was written wrongly. */
export function usage(message: string, hint: string): Failure {
  return new Failure('usage', message, hint)
}

/** Any thrown thing as a Failure. The domain's errors keep code, message and hint; unknown ones do not show theirs. */
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown
  if (isCoded(thrown)) return new Failure(thrown.code, thrown.message, thrown.hint)
  if (isSystemError(thrown)) {
    return new Failure(
      'failed',
      `The system refused: ${thrown.code} ${thrown.path ?? ''}`.trim(),
      'Check path and rights.',
    )
  }
  return new Failure('internal', 'coatcheck failed to do this.', 'Run coatcheck doctor.')
}

function isCoded(thrown: unknown): thrown is Error & { code: string; hint: string } {
  return thrown instanceof Error && 'hint' in thrown && typeof thrown.hint === 'string' && 'code' in thrown
}

function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && 'errno' in thrown && 'code' in thrown && typeof thrown.code === 'string'
}
