/**
 * Many secrets as one text, in and out. An import writes each secret by itself and reports on each; an export reads each value as
 * a reveal does, so it is recorded and counted, and leaves out what may not be read.
 */
// oxlint-disable oxc/no-async-endpoint-handlers -- a rule about Express: Fastify awaits its handlers
import { isDotenvName } from '../core/dotenv.ts'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import type { Principal } from '../core/principal.ts'
import type { Secret, SecretValue } from '../core/secret.ts'
import { type ExportedSecret, formatSecrets, parseSecrets } from '../core/secret-import.ts'
import { checkSecretName } from '../core/secret-name.ts'
import type { NewSecret } from '../core/secret-store.ts'
import { principalOf } from './authenticate.ts'
import { ExportDocument, ExportRequest, ImportReport, ImportRequest } from './contract/secret-reports.ts'
import { PAGE_LIMIT } from './contract.ts'
import type { Api, ApiDeps } from './dependencies.ts'

type TransferDeps = Pick<ApiDeps, 'secrets' | 'reveals'>

const MAX_EXPORTED = 1000
const MAX_IMPORTED = 1000
const IMPORT_BODY_BYTES = 4 * 1024 * 1024

export function secretTransferRoutes(api: Api, deps: TransferDeps): void {
  const imported = {
    schema: { summary: 'Import secrets from a file', body: ImportRequest, response: { 200: ImportReport } },
    config: { permission: 'secrets.write' },
    bodyLimit: IMPORT_BODY_BYTES,
  } as const
  api.post('/v1/secrets/import', imported, async (request) => {
    const { format, text, ifExists = 'refuse' } = request.body
    const secrets = parseSecrets(format, text)
    if (secrets.length > MAX_IMPORTED) throw tooMany('import', MAX_IMPORTED)
    return await importAll(deps, principalOf(request), secrets, ifExists)
  })

  const exported = {
    schema: { summary: 'Export secrets with their values', body: ExportRequest, response: { 200: ExportDocument } },
    config: { permission: 'secrets.read' },
  } as const
  api.post('/v1/secrets/export', exported, async (request) => {
    const principal = principalOf(request)
    const secrets = await listAll(deps, principal, request.body.prefix)
    return await exportAll(deps, principal, secrets, request.body.format)
  })
}

async function importAll(
  deps: TransferDeps,
  principal: Principal,
  secrets: readonly NewSecret[],
  ifExists: NonNullable<ImportRequest['ifExists']>,
): Promise<ImportReport> {
  const report = { created: [] as string[], replaced: [] as string[], skipped: [] as string[] }
  const failed: ImportReport['failed'][number][] = []
  for (const [at, secret] of secrets.entries()) {
    try {
      report[await importOne(deps, principal, secret, ifExists)].push(secret.name)
    } catch (thrown) {
      const { code, message, hint } = asCoatcheckError(thrown)
      failed.push({ name: shownName(secret.name, at), code, message, hint })
    }
  }
  return { ...report, failed }
}

async function importOne(
  { secrets }: TransferDeps,
  principal: Principal,
  secret: NewSecret,
  ifExists: NonNullable<ImportRequest['ifExists']>,
): Promise<'created' | 'replaced' | 'skipped'> {
  try {
    await secrets.create(principal, secret)
    return 'created'
  } catch (thrown) {
    if (!(thrown instanceof CoatcheckError) || thrown.code !== 'conflict' || ifExists === 'refuse') throw thrown
    if (ifExists === 'skip') return 'skipped'
    const { name, dress: _, ...fields } = secret
    await secrets.update(principal, name, fields)
    return 'replaced'
  }
}

/** A name that is not allowed may be a value that slipped: its place is told instead. */
function shownName(name: string, at: number): string {
  try {
    return checkSecretName(name)
  } catch {
    return `secrets[${at}]`
  }
}

async function listAll(
  { secrets }: TransferDeps,
  principal: Principal,
  prefix: string | undefined,
): Promise<readonly Secret[]> {
  const found: Secret[] = []
  for (let cursor: string | null = null; ; ) {
    const page = { limit: PAGE_LIMIT.max, cursor, ...(prefix === undefined ? {} : { prefix }) }
    const { items, nextCursor } = await secrets.list(principal, page)
    found.push(...items)
    if (found.length > MAX_EXPORTED) throw tooMany('export', MAX_EXPORTED)
    if (nextCursor === null) return found
    cursor = nextCursor
  }
}

async function exportAll(
  { reveals }: TransferDeps,
  principal: Principal,
  secrets: readonly Secret[],
  format: ExportRequest['format'],
): Promise<ExportDocument> {
  const texts: string[] = []
  const leftOut: ExportDocument['leftOut'][number][] = []
  const exported: ExportedSecret[] = []
  for (const secret of secrets) {
    // Before the value is read, which is recorded and counted.
    if (format === 'dotenv' && !isDotenvName(secret.name)) {
      leftOut.push({ name: secret.name, code: 'invalid_input' })
      continue
    }
    try {
      const { value } = await reveals.reveal(principal, secret.id)
      const each = exportedSecret(secret, value)
      texts.push(formatSecrets(format, [each]))
      exported.push(each)
    } catch (thrown) {
      leftOut.push({ name: secret.name, code: asCoatcheckError(thrown).code })
    }
  }
  const text = format === 'dotenv' ? texts.join('') : formatSecrets(format, exported)
  return { format, text, count: exported.length, leftOut }
}

/** What an import takes back: counts, ids and dates stay here. */
function exportedSecret(secret: Secret, value: SecretValue): ExportedSecret {
  const { name, description, type, hosts, placements, allowPlaintext, labels, metadata, externalId } = secret
  const { readPolicy, expiresAt, maxAccessCount, countUses, maxOccurrences, rotationPolicy } = secret
  const fields = { name, description, type, hosts, placements, allowPlaintext, labels, metadata, externalId }
  return { ...fields, readPolicy, expiresAt, maxAccessCount, countUses, maxOccurrences, rotationPolicy, value }
}

function tooMany(what: string, most: number): CoatcheckError {
  return new CoatcheckError(
    'invalid_input',
    `One ${what} has at most ${most} secrets.`,
    'Do it in parts: by prefix for an export, by file for an import.',
  )
}
