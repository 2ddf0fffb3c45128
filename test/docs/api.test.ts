/** Contract: docs/api.md has every route, field and status of the API and of the proxy's answers, and no other. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as audit from '../../src/api/contract/audit.ts'
import * as sandboxes from '../../src/api/contract/sandboxes.ts'
import * as secrets from '../../src/api/contract/secrets.ts'
import * as server from '../../src/api/contract/server.ts'
import * as tokens from '../../src/api/contract/tokens.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { statusOf } from '../../src/proxy/rejection.ts'
import { ApiUnderTest } from '../api/support/api-under-test.ts'
import { routeTable } from '../api/support/route-table.ts'

const CHECKOUT = join(import.meta.dirname, '../..')
const page = await readFile(join(CHECKOUT, 'docs/api.md'), 'utf8')

/** Code -> status, from a table of the page. */
function statuses(heading: string): Map<string, number> {
  const section = page.split(/^## /m).find((each) => each.startsWith(heading)) ?? ''
  const found = new Map<string, number>()
  for (const [, given = '', codes = ''] of section.matchAll(/^\| ([\d, ]+) \| (.+) \|$/gm)) {
    const numbers = given.split(', ').map(Number)
    const names = [...codes.replaceAll(/[:;][^`]*/g, '').matchAll(/`([a-z_]+)`/g)].map((match) => match[1] ?? '')
    // A row with several statuses lists one code for each, in their order.
    for (const [at, name] of names.entries())
      found.set(name, numbers.length === 1 ? (numbers[0] ?? 0) : (numbers[at] ?? 0))
  }
  return found
}

it('has every route of the native API and no other', async () => {
  const api = await ApiUnderTest.start()
  const served = (await routeTable(api.deps))
    .filter(({ foreign }) => !foreign)
    .map(({ method, path }) => `${method} ${path}`)
  await api.stop()
  const told = [...page.matchAll(/`((?:GET|POST|PUT|PATCH|DELETE) \/[^`\s]*)`/g)].map((match) => match[1] ?? '')
  expect([...new Set(told)].sort()).toEqual([...new Set(served)].sort())
})

describe('the fields', () => {
  const { SecretCreate, SecretUpdate, SecretDocument, VersionDocument, SecretQuery } = secrets
  const { SandboxCredentials } = sandboxes
  const { TokenCreated } = tokens
  const { AuthorityDocument } = server
  const { AuditEventDocument, AuditQuery, VerifyDocument } = audit
  it.each(
    Object.entries({
      SecretCreate,
      SecretUpdate,
      SecretDocument,
      VersionDocument,
      SandboxCredentials,
      TokenCreated,
      AuditEventDocument,
      AuditQuery,
      SecretQuery,
      VerifyDocument,
      AuthorityDocument,
    }),
  )('of %s are all there', (_name, schema) => {
    const missing = Object.keys(schema.properties).filter(
      (field) => !new RegExp(`[\`{ ?&,]${field}[\`,= }]`).test(page),
    )
    expect(missing).toEqual([])
  })

  it('that can be written are those of the table', () => {
    const rows = [...page.matchAll(/^\| (`.+?`) \| (.*?) \| (.*?) \| (.*?) \|/gm)].map(
      ([, names = '', create, update]) => ({
        names: [...names.matchAll(/`([a-zA-Z]+)`/g)].map((match) => match[1] ?? ''),
        create: create !== '',
        update: update === 'yes',
      }),
    )
    const told = (which: 'create' | 'update') => rows.filter((row) => row[which]).flatMap((row) => row.names)
    const table = (which: 'create' | 'update', known: object) => told(which).filter((name) => name in known)
    expect(table('create', SecretCreate.properties).sort()).toEqual(Object.keys(SecretCreate.properties).sort())
    expect(table('update', SecretUpdate.properties).sort()).toEqual(Object.keys(SecretUpdate.properties).sort())
  })
})

describe('the statuses', () => {
  it('of the proxy are those it answers with', () => {
    const told = statuses('What the proxy answers')
    expect(told.size).toBeGreaterThan(25)
    for (const [code, status] of told) expect({ code, status }).toEqual({ code, status: statusOf(code as ErrorCode) })
  })

  it('of the API are those it answers with', async () => {
    const source = await readFile(join(CHECKOUT, 'src/api/respond.ts'), 'utf8')
    const told = statuses('Errors')
    expect(told.size).toBeGreaterThan(12)
    for (const [code, status] of told) {
      if (code !== 'internal') expect(source).toMatch(new RegExp(`^ {2}${code}: ${status},$`, 'm'))
    }
  })
})
