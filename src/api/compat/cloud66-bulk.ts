/**
 * Cloud 66's environment variables as one text: dotenv, or JSON of keys and values. A POST makes variables, and none
 * when one of them is there; a PATCH sets them, there or not; a GET gives those that the caller may read, each recorded, and no others.
 * Each variable is written by itself, in their order: one whose value is refused ends it.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { type Static, Type } from 'typebox'
import { formatDotenv } from '../../core/dotenv.ts'
import { CoatcheckError } from '../../core/errors.ts'
import type { Principal } from '../../core/ports.ts'
import type { Secret } from '../../core/secret.ts'
import { parseSecrets } from '../../core/secret-import.ts'
import { NAME_FORMS } from '../../core/secret-name.ts'
import type { NewSecret } from '../../core/secret-store.ts'
import { texted } from '../contract/fields.ts'
import type { Api } from '../dependencies.ts'
import { ActionAnswer, actionAnswer } from './cloud66-actions.ts'
import { bothPaths, stackOf } from './cloud66-paths.ts'
import { overwrite } from './cloud66-secrets.ts'
import { One, StackParams } from './cloud66-shapes.ts'
import { listedValue } from './cloud66-values.ts'
import type { CompatDeps } from './compat-deps.ts'
import { VALUE_ROUTE } from './value-route.ts'
import { readBounded } from './walk.ts'

const MAX_VARIABLES = 1000

const formatField = Type.Enum(['dotenv', 'json'], { description: 'dotenv or json.' })
const BulkBody = Type.Object({
  environments_format: formatField,
  contents: texted(0, 1_000_000, 'The variables as one text.'),
  apply_strategy: Type.Optional(Type.String({ maxLength: 64, description: 'A text.' })),
})
/** Variables are of one type here, so `requested_types` leaves none out. */
const BulkQuery = Type.Object({ environments_format: formatField, requested_types: Type.Optional(Type.String()) })
const ContentsAnswer = Type.Object({ contents: Type.String() })

export function cloud66BulkRoutes(api: Api, deps: CompatDeps): void {
  const writing = { permission: 'secrets.write' } as const
  const changed = { params: StackParams, body: BulkBody, response: { 200: One(ActionAnswer) } }
  for (const path of bothPaths('/stacks/:uid/environments/bulk')) {
    api.post(path, { config: writing, schema: changed }, async (request) => {
      const principal = await stackOf(request, deps)
      const variables = variablesFrom(request.body)
      await refuseKnown(deps, principal, variables)
      for (const { name, value } of variables) {
        await deps.secrets.create(principal, { name, value, readPolicy: 'permission' })
      }
      return { response: bulkAction('env-var-new', principal) }
    })

    api.patch(path, { config: writing, schema: changed }, async (request) => {
      const principal = await stackOf(request, deps)
      for (const variable of variablesFrom(request.body)) await set(deps, principal, variable)
      return { response: bulkAction('env-var-update', principal) }
    })

    const shown = { params: StackParams, querystring: BulkQuery, response: { 200: One(ContentsAnswer) } }
    const reading = { permission: 'secrets.read' } as const
    api.get(path, { ...VALUE_ROUTE, config: reading, schema: shown }, async (request) => {
      const principal = await stackOf(request, deps)
      const contents = await contentsOf(deps, principal, request.query.environments_format)
      return { response: { contents } }
    })
  }
}

function variablesFrom({ environments_format, contents }: Static<typeof BulkBody>): readonly NewSecret[] {
  const variables = parseSecrets(environments_format, contents)
  if (variables.length > MAX_VARIABLES) throw invalid(`There are more than ${MAX_VARIABLES} variables.`)
  if (variables.every(({ name }) => NAME_FORMS.variable.test(name))) return variables
  throw invalid('A key is not of letters, digits and _, or begins with a digit.')
}

/** Before anything is made. An inherited one may be overridden. */
async function refuseKnown(deps: CompatDeps, principal: Principal, variables: readonly NewSecret[]): Promise<void> {
  for (const { name } of variables) {
    if ((await known(deps, principal, name))?.inherited !== false) continue
    throw new CoatcheckError('conflict', `There is a variable ${name} already.`, 'Send a PATCH to set it.')
  }
}

async function set(deps: CompatDeps, principal: Principal, { name, value }: NewSecret): Promise<void> {
  if ((await known(deps, principal, name)) !== null) await overwrite(deps, principal, name, value)
  else await deps.secrets.create(principal, { name, value, readPolicy: 'permission' })
}

async function known({ secrets }: CompatDeps, principal: Principal, name: string): Promise<Secret | null> {
  try {
    return await secrets.get(principal, name)
  } catch (error) {
    // One that was softly deleted is none to this contract.
    if (error instanceof CoatcheckError && (error.code === 'not_found' || error.code === 'gone')) return null
    throw error
  }
}

async function contentsOf(deps: CompatDeps, principal: Principal, format: 'dotenv' | 'json'): Promise<string> {
  const all = await readBounded((page) => deps.secrets.list(principal, { ...page, form: 'variable' }), MAX_VARIABLES)
  const entries: { readonly name: string; readonly value: string }[] = []
  for (const each of all) {
    const value = await listedValue(deps, principal, each)
    if (value !== null) entries.push({ name: each.name, value })
  }
  if (format === 'dotenv') return formatDotenv(entries.filter(({ value }) => !value.includes('\0')))
  return JSON.stringify(Object.fromEntries(entries.map(({ name, value }) => [name, value])))
}

function bulkAction(action: string, principal: Principal): Static<typeof ActionAnswer> {
  return actionAnswer(action, principal, principal.workspaceId, new Date().toISOString())
}

function invalid(message: string): CoatcheckError {
  return new CoatcheckError('invalid_input', message, 'Write one KEY=value a line, or {"KEY": "value"}.')
}
