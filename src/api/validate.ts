/**
 * Checks requests against the contract, and says field, rule and fix of what is wrong, never what was submitted:
 * a field is named only when the contract declares it, because a key can carry a value too.
 */
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { TLocalizedValidationError } from 'typebox/error'
import { CoatcheckError } from '../core/errors.ts'

/** What of a schema this file reads. */
interface SchemaNode {
  readonly description?: string
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly items?: SchemaNode
  readonly anyOf?: readonly SchemaNode[]
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>
  readonly type?: string
}

interface Problem {
  readonly field: string
  readonly rule: string
  readonly fix: string
}

/** Problems told in one answer; the rest show once these are fixed. */
const MAX_PROBLEMS = 5

/** Whole numbers in a query become numbers where the contract says so; everything else is taken as it is. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validator = Compile(schema)
  const whole = httpPart === 'body' ? 'The body' : 'The query'
  return (input: unknown) => {
    const value = httpPart === 'body' ? input : withNumbers(schema, input as Readonly<Record<string, unknown>>)
    if (validator.Check(value)) return { value }
    return { error: invalidInput(problemsOf(schema, validator.Errors(value), whole)) }
  }
}

/** A library's conversion would also take `1.5` and a repeated parameter. */
function withNumbers(schema: SchemaNode, query: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(query).map(([name, sent]): [string, unknown] => {
    const whole = typeof sent === 'string' && /^\d{1,9}$/.test(sent) && schema.properties?.[name]?.type === 'integer'
    return [name, whole ? Number(sent) : sent]
  })
  return Object.fromEntries(entries)
}

function invalidInput(problems: readonly Problem[]): CoatcheckError {
  const message = problems.map(({ field, rule }) => `${field} ${rule}`).join('; ')
  const hint = problems.map(({ field, fix }) => `${field}: ${fix}`).join(' ')
  return new CoatcheckError('invalid_input', `${message}.`, hint)
}

/** One problem for each field, in the order found. */
function problemsOf(schema: SchemaNode, errors: readonly TLocalizedValidationError[], whole: string): Problem[] {
  const byField = new Map<string, Problem>()
  for (const error of errors) {
    const problem = problemOf(schema, error, whole)
    if (problem !== undefined && !byField.has(problem.field)) byField.set(problem.field, problem)
  }
  if (byField.size === 0) return [{ field: whole, rule: 'is not as the contract says', fix: fixFor(schema) }]
  return [...byField.values()].slice(0, MAX_PROBLEMS)
}

function problemOf(schema: SchemaNode, error: TLocalizedValidationError, whole: string): Problem | undefined {
  const { name, node } = locate(schema, error.instancePath, whole)
  if (error.keyword === 'required') {
    const missing = error.params.requiredProperties[0] ?? ''
    const field = name === whole ? missing : `${name}.${missing}`
    return { field, rule: 'is required', fix: fixFor(node.properties?.[missing]) }
  }
  const rule = ruleOf(error)
  return rule === undefined ? undefined : { field: name, rule, fix: fixFor(node) }
}

/** The rule in words; undefined for errors that only repeat another one (an `anyOf`, its null, a closed object's field). */
function ruleOf(error: TLocalizedValidationError): string | undefined {
  switch (error.keyword) {
    case 'type':
      return error.params.type === 'null' ? undefined : `must be ${article(String(error.params.type))}`
    case 'minLength':
      return `must have at least ${error.params.limit} character`
    case 'maxLength':
      return `must have at most ${error.params.limit} characters`
    case 'minItems':
      return `must have at least ${error.params.limit} entry`
    case 'maxItems':
      return `must have at most ${error.params.limit} entries`
    case 'maxProperties':
      return `must have at most ${error.params.limit} entries`
    case 'minimum':
      return `must be at least ${error.params.limit}`
    case 'maximum':
      return `must be at most ${error.params.limit}`
    case 'enum':
      return 'must be one of the allowed values'
    case 'format':
      return 'must be a date and time'
    case 'additionalProperties':
      return 'has a field that is not known here'
    default:
      return undefined
  }
}

function article(type: string): string {
  return /^[aeio]/.test(type) ? `an ${type}` : `a ${type}`
}

function fixFor(node: SchemaNode | undefined): string {
  if (node?.description !== undefined) return node.description
  if (node?.properties !== undefined) return `Known fields are ${Object.keys(node.properties).join(', ')}.`
  return 'See the API reference.'
}

/** Follows a JSON pointer through the schema; submitted keys of maps become `*`. */
function locate(schema: SchemaNode, pointer: string, whole: string): { name: string; node: SchemaNode } {
  let name = ''
  let node = present(schema)
  for (const segment of pointer.split('/').slice(1)) {
    const declared = node.properties?.[segment]
    if (declared !== undefined) name += name === '' ? segment : `.${segment}`
    else name += node.items === undefined ? '.*' : `[${segment}]`
    const next = declared ?? node.items ?? Object.values(node.patternProperties ?? {})[0]
    if (next === undefined) return { name: name === '.*' ? whole : name, node }
    node = present({ ...(node.description === undefined ? {} : { description: node.description }), ...next })
  }
  return { name: name === '' ? whole : name, node }
}

/** The schema of a value that is there: the other side of a union with null. */
function present(node: SchemaNode): SchemaNode {
  const inner = node.anyOf?.find((side) => side.type !== 'null')
  if (inner === undefined) return node
  return { ...(node.description === undefined ? {} : { description: node.description }), ...inner }
}
