/**
 * Transcripts: what a person types and sees, as text.
 *
 *   # words about what follows
 *   @ env NAME=VALUE        for the next command; `@ tty` makes its output a terminal
 *   $ secret list           the arguments, split at spaces; "…" keeps spaces; `‹id›` is the word that was kept
 *   < text                  a line of standard input
 *   > text                  a line of standard output; `…` stands for any text within a line, `> ⋮` for any lines
 *                           and `␛` for the escape character; `‹id›` keeps the word that stands there
 *   ! text                  a line of standard error, likewise
 *   ? 2                     the exit code; 0 when there is none
 *   - text                  must be in neither output
 *
 * Standard output and standard error must hold these lines and no others.
 */
export interface Step {
  readonly line: number
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly isTty: boolean
  readonly stdin: string
  readonly stdout: readonly string[]
  readonly stderr: readonly string[]
  readonly code: number
  readonly absent: readonly string[]
}

interface Draft {
  line: number
  argv: string[]
  env: Record<string, string>
  isTty: boolean
  stdin: string
  stdout: string[]
  stderr: string[]
  code: number
  absent: string[]
}

export function parseTranscript(text: string): Step[] {
  const steps: Draft[] = []
  let next = draft()
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '' || line.startsWith('#')) continue
    const rest = line.slice(2).replaceAll('␛', '\u001b')
    if (line.startsWith('@')) prepare(next, rest)
    else if (line.startsWith('$')) {
      steps.push({ ...next, line: index + 1, argv: split(rest) })
      next = draft()
    } else expectation(steps.at(-1), line[0] ?? '', rest, index + 1)
  }
  return steps
}

/** The arguments with the words that were kept. */
export function argumentsOf(step: Step, kept: ReadonlyMap<string, string>): readonly string[] {
  return step.argv.map((argument) => argument.replace(/‹([a-z]+)›/g, (whole, name: string) => kept.get(name) ?? whole))
}

/** The lines as one pattern for the whole output; its groups are the words to keep. */
export function patternOf(lines: readonly string[]): RegExp {
  const parts = lines.map((line) => (line === '⋮' ? '(?:.*\\n)*?' : `${lineOf(line)}\\n`))
  return new RegExp(`^${parts.join('')}$`, 'u')
}

function draft(): Draft {
  return { line: 0, argv: [], env: {}, isTty: false, stdin: '', stdout: [], stderr: [], code: 0, absent: [] }
}

function prepare(step: Draft, rest: string): void {
  if (rest === 'tty') step.isTty = true
  else {
    const [name = '', value = ''] = rest.replace(/^env /, '').split('=')
    step.env[name] = value
  }
}

function expectation(step: Draft | undefined, mark: string, rest: string, line: number): void {
  if (step === undefined) throw new Error(`line ${line}: there is no command yet`)
  if (mark === '<') step.stdin += `${rest}\n`
  else if (mark === '>') step.stdout.push(rest)
  else if (mark === '!') step.stderr.push(rest)
  else if (mark === '?') step.code = Number(rest)
  else if (mark === '-') step.absent.push(rest)
  else throw new Error(`line ${line}: ${mark} is no mark`)
}

function split(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '')
}

function lineOf(line: string): string {
  const parts = line.split(/(…|‹[a-z]+›)/)
  return parts
    .map((part) => (part === '…' ? '.*' : part.startsWith('‹') ? `(?<${part.slice(1, -1)}>\\S+)` : escaped(part)))
    .join('')
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, (char) => (char === '-' || char === '/' ? char : `\\${char}`))
}
