/**
 * Contract: the API's own description is whole and true. Every route is in it with a name, a summary, who may call it, every parameter
 * described, every answer typed; the page for people has each of them, loads nothing from elsewhere and runs nothing.
 *
 * That every answer is as described is checked in every test of this folder, for each answer it gets.
 */
import { createHash } from 'node:crypto'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ApiUnderTest } from './support/api-under-test.ts'
import { Documented, type OpenApiDocument, type OpenApiOperation } from './support/documented.ts'
import { routeTable } from './support/route-table.ts'

let api: ApiUnderTest
let document: OpenApiDocument
let operations: readonly { readonly name: string; readonly path: string; readonly operation: OpenApiOperation }[]

beforeAll(async () => {
  api = await ApiUnderTest.start()
  document = JSON.parse(
    (await api.call('GET', '/openapi.json', undefined, { authorization: '' })).text,
  ) as OpenApiDocument
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      path,
      operation,
    })),
  )
})
afterAll(async () => await api.stop())

/** Where the operation breaks the rule. */
function breaking(rule: (operation: OpenApiOperation, path: string) => boolean): readonly string[] {
  return operations.filter(({ operation, path }) => rule(operation, path)).map(({ name }) => name)
}

describe('the document', () => {
  it('is OpenAPI 3.1, answered to anyone who may reach this address', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(document.info).toMatchObject({ title: 'coatcheck', license: { identifier: 'Apache-2.0' } })
    expect(document.components.securitySchemes).toEqual({ token: { type: 'http', scheme: 'bearer' } })
  })

  it('has every route of the API and no other', async () => {
    const served = (await routeTable(api.deps))
      .filter(({ foreign }) => !foreign)
      .map(({ method, path }) => `${method} ${path.replaceAll(/:([A-Za-z]+)/g, '{$1}')}`)
    expect(operations.map(({ name }) => name).toSorted()).toEqual(served.toSorted())
  })

  it('names every operation once, and says what it does and who may', () => {
    const names = operations.map(({ operation }) => operation.operationId)
    expect(new Set(names).size).toBe(names.length)
    expect(breaking(({ operationId }) => !/^[a-z][A-Za-z]+$/.test(operationId ?? ''))).toEqual([])
    expect(breaking(({ summary = '' }) => summary.length < 5 || summary.endsWith('.'))).toEqual([])
    expect(breaking(({ description = '' }) => !description.startsWith('Needs '))).toEqual([])
    expect(breaking(({ tags }) => tags?.length !== 1)).toEqual([])
  })

  const sorted = (names: readonly (string | undefined)[]) =>
    names
      .map(String)
      .toSorted((a, b) => a.localeCompare(b))
      .join()

  it('describes every parameter, and has each of the path', () => {
    expect(breaking(({ parameters = [] }) => parameters.some(({ description = '' }) => description === ''))).toEqual([])
    const inPath = (path: string) => [...path.matchAll(/\{([A-Za-z]+)\}/g)].map(([, name]) => name)
    const told = ({ parameters = [] }: OpenApiOperation) =>
      parameters.filter((each) => each.in === 'path' && each.required === true).map(({ name }) => name)
    expect(breaking((operation, path) => sorted(told(operation)) !== sorted(inPath(path)))).toEqual([])
  })

  it('types every answer, and gives a refusal for each that needs a token', () => {
    expect(
      breaking(({ responses }) =>
        Object.entries(responses).some(
          ([status, { description = '', content }]) =>
            description === '' || (status !== '204' && content === undefined),
        ),
      ),
    ).toEqual([])
    expect(breaking(({ security, responses }) => security === undefined && responses['default'] === undefined)).toEqual(
      [],
    )
  })

  it('has schemas that a validator takes, of objects with declared fields', () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    for (const { name, operation } of operations) {
      const schemas = [
        operation.requestBody?.content,
        ...Object.values(operation.responses).map(({ content }) => content),
      ]
        .flatMap((content) => Object.values(content ?? {}))
        .flatMap(({ schema }) => (schema === undefined ? [] : [schema]))
      for (const schema of schemas) expect(() => ajv.compile(schema), name).not.toThrow()
    }
    expect(
      breaking(({ requestBody }) => {
        const schema: { additionalProperties?: unknown } | undefined = requestBody?.content['application/json']?.schema
        return schema !== undefined && schema.additionalProperties !== false
      }),
    ).toEqual([])
  })

  it('tells an answer that it does not describe', () => {
    const documented = new Documented(document)
    const page = { items: [], nextCursor: null }
    expect(documented.mistakes('GET', '/v1/secrets', 200, page)).toEqual([])
    expect(documented.mistakes('GET', '/v1/secrets', 200, { items: [{}], nextCursor: null })).not.toEqual([])
    expect(documented.mistakes('GET', '/v1/secrets/unused', 200, { items: 1 })).not.toEqual([])
    expect(documented.mistakes('GET', '/v1/secrets', 202, page)).not.toEqual([])
    expect(documented.mistakes('GET', '/v1/nothing', 200, page)).not.toEqual([])
  })

  it('has a value in one answer alone', () => {
    const answering = (field: string) =>
      operations
        .filter(({ operation }) =>
          Object.values(operation.responses).some(({ content }) =>
            Object.keys(
              (Object.values(content ?? {})[0]?.schema as { properties?: object })?.properties ?? {},
            ).includes(field),
          ),
        )
        .map(({ name }) => name)
    expect(answering('value')).toEqual([
      'POST /v1/secrets/{idOrName}/value',
      'POST /v1/secrets/{idOrName}/versions/{version}/value',
    ])
  })
})

describe('the page for people', () => {
  it('shows every route, loads nothing and runs nothing', async () => {
    const { status, text, headers } = await api.call('GET', '/reference', undefined, { authorization: '' })
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    for (const { path } of operations) expect(text).toContain(`<code>${path}</code>`)
    expect(text).not.toMatch(/<script|<img|<link|<iframe|javascript:|\son[a-z]+=|https?:\/\//i)
    const style = /<style>([^]*?)<\/style>/.exec(text)?.[1] ?? ''
    const digest = createHash('sha256').update(style).digest('base64')
    expect(headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
  })
})
