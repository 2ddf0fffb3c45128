/**
 * An environment written for whoever reads it, each value quoted so that it arrives as it is. What a format cannot
 * hold is refused rather than changed.
 */
import { usage } from './failure.ts'
import { isPlain, jsonText } from './output.ts'

export const ENVIRONMENT_FORMATS = ['shell', 'dotenv', 'json', 'docker'] as const
export type EnvironmentFormat = (typeof ENVIRONMENT_FORMATS)[number]

/** Lines with a final line break. `docker` is the syntax of `docker run --env-file`, which knows no quotes. */
export function formatEnvironment(format: EnvironmentFormat, env: Readonly<Record<string, string>>): string {
  if (format === 'json') return `${jsonText(env)}\n`
  const quote = { shell: quoteForShell, dotenv: quoteForDotenv, docker: plainForDocker }[format]
  const prefix = format === 'shell' ? 'export ' : ''
  return Object.entries(env)
    .map(([name, value]) => `${prefix}${checkedName(name)}=${quote(value, name)}\n`)
    .join('')
}

/** A remark that the reader of the format skips; formats without comments have none. */
export function commentFor(format: EnvironmentFormat, text: string): string {
  return format === 'json' ? '' : `# ${text}\n`
}

/** A name that is none would be run as code by a shell. */
function checkedName(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return name
  throw usage('A mount has a name that is not an environment variable name.', 'Use --format json, or rename the mount.')
}

/** POSIX single quotes; `$'…'` (POSIX.1-2024) for controls, which a terminal must not see raw. */
function quoteForShell(value: string): string {
  if (isPlain(value)) return `'${value.replaceAll("'", `'\\''`)}'`
  const escaped = [...Buffer.from(value, 'utf8')].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`)
  return `$'${escaped.join('')}'`
}

/** Single quotes are literal in every dotenv reader; escapes inside double quotes are not alike. */
function quoteForDotenv(value: string, name: string): string {
  if (!isPlain(value)) throw cannotHold(name, 'dotenv')
  if (!value.includes("'")) return `'${value}'`
  if (/["\\$`]/.test(value)) throw cannotHold(name, 'dotenv')
  return `"${value}"`
}

function plainForDocker(value: string, name: string): string {
  if (!isPlain(value)) throw cannotHold(name, 'docker')
  return value
}

function cannotHold(name: string, format: string): Error {
  return usage(`The value of ${name} cannot be written as ${format}.`, 'Use --format shell or --format json.')
}
