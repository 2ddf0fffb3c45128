/**
 * The API describes itself: OpenAPI 3.1 made from the routes' own schemas (https://spec.openapis.org/oas/v3.1.0), and a page for people
 * made from that. Both are for anyone who may reach this address: they hold nothing that is not in the published source.
 */
import swagger, { type SwaggerTransform } from '@fastify/swagger'
import { type TSchema, Type } from 'typebox'
import { SCOPE_HEADER } from './acting-scope.ts'
import { ErrorDocument } from './contract.ts'
import type { Api } from './dependencies.ts'
import { PAGE_POLICY, referencePage } from './reference.ts'
import { documentedFailures } from './respond.ts'

const VERSION = '1'
const IDEMPOTENCY_KEY = Type.String({
  description: 'A key of 1 to 255 characters. The same one with the same body within an hour repeats the first answer.',
})
const IF_MATCH = Type.String({ description: 'The etag of the version that must be there, such as "3".' })
const LAST_EVENT_ID = Type.String({ description: 'The id of the last event that was seen.' })
const SCOPE = Type.String({
  description:
    'Where to act: account, workspace=REF, vault=REF, or workspace=REF; vault=REF. Default: the scope of the token.',
})

/** Must be registered before the routes it is to see. */
export async function describeRoutes(api: Api): Promise<void> {
  await api.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'coatcheck',
        version: VERSION,
        description: 'Secrets, the sandboxes that use them by placeholder, and the log of every release.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    },
    convertConstToEnum: false,
    transform: described,
  })
}

export function documentRoutes(api: Api): void {
  const config = { permission: 'anyone' } as const
  const document = { summary: 'This API as OpenAPI 3.1' }
  api.get('/openapi.json', { schema: document, config }, (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(JSON.stringify(api.swagger())),
  )

  const page = { summary: 'This API as a page for people', produces: ['text/html'] }
  api.get('/reference', { schema: page, config }, (_request, reply) =>
    reply
      .header('content-security-policy', PAGE_POLICY)
      .type('text/html; charset=utf-8')
      .send(referencePage(api.swagger())),
  )
}

/** Adds what routes have in common: a name, headers, the refusals, and who may call. */
const described: SwaggerTransform = ({ schema, url, route }) => {
  const { permission = 'caller', idempotent } = route.config ?? {}
  const method = String(route.method).toLowerCase()
  const given = (schema ?? {}) as Record<string, unknown> & { readonly response?: Record<string, TSchema> }
  const open = permission === 'anyone'
  const headers = {
    ...(open ? {} : { [SCOPE_HEADER]: Type.Optional(SCOPE) }),
    ...(idempotent === undefined ? {} : { 'idempotency-key': Type.Optional(IDEMPOTENCY_KEY) }),
    ...(method === 'patch' && url === '/v1/secrets/:idOrName' ? { 'if-match': Type.Optional(IF_MATCH) } : {}),
    ...(url.endsWith('/stream') ? { 'last-event-id': Type.Optional(LAST_EVENT_ID) } : {}),
  }
  const whole = {
    ...given,
    operationId: operationId(method, url),
    tags: [tagOf(url)],
    description: open ? 'Needs no token.' : `Needs ${permission}.`,
    ...(open ? { security: [] } : {}),
    ...(Object.keys(headers).length === 0 ? {} : { headers: Type.Object(headers) }),
    response: { ...answersOf(given, method), ...(open ? {} : refusals()) },
  }
  return { schema: whole, url }
}

function answersOf(
  given: { readonly response?: Record<string, TSchema>; readonly produces?: unknown },
  method: string,
): Record<string, TSchema> {
  const implied: Record<string, TSchema> =
    method === 'delete' ? { 204: Type.Null() } : { 200: given.produces === undefined ? Type.Unknown() : Type.String() }
  const answers = Object.entries(given.response ?? implied)
  return Object.fromEntries(answers.map(([status, schema]) => [status, { description: meaning(status), ...schema }]))
}

function refusals(): Record<string, TSchema> {
  return { default: { ...ErrorDocument, description: `An error: ${documentedFailures()}.` } }
}

function meaning(status: string): string {
  if (status === '201') return 'Made.'
  return status === '204' ? 'Done; there is no body.' : 'The answer.'
}

/** `getSecretsVersions`: stable, and unique because paths are. */
function operationId(method: string, url: string): string {
  const words = url.split(/[^A-Za-z0-9]+/).filter((word) => word !== '' && word !== 'v1')
  return method + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}

function tagOf(url: string): string {
  return /^\/v1\/([a-z]+)/.exec(url)?.[1] ?? 'server'
}
