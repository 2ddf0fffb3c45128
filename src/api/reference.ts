/**
 * The reference page: the OpenAPI document as plain HTML, one section for each noun. No script, no image, nothing from elsewhere;
 * the page's policy allows its own style by its digest and nothing else.
 */
import { createHash } from 'node:crypto'

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
code,pre{font:14px/1.45 ui-monospace,monospace}h2{margin-top:3rem;border-bottom:1px solid #ccc}
section{margin:1.5rem 0}h3{margin:0 0 .25rem}h3 b{display:inline-block;min-width:4.5rem}
table{border-collapse:collapse;margin:.5rem 0;width:100%}td,th{text-align:left;vertical-align:top;padding:.15rem .75rem .15rem 0;border-top:1px solid #eee}
th{font-weight:600}.need{color:#555}nav a{margin-right:1rem}@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}td,th{border-color:#333}.need{color:#aaa}a{color:#8ab4f8}}`

const digest = createHash('sha256').update(STYLE).digest('base64')

/** The Content-Security-Policy of the page. */
export const PAGE_POLICY = `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

interface Schema {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly anyOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly description?: string
}
type Media = Readonly<Record<string, { readonly schema?: Schema }>>
interface Parameter {
  readonly name: string
  readonly in: string
  readonly required?: boolean
  readonly description?: string
  readonly schema?: Schema
}
interface Operation {
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content?: Media }
  readonly responses?: Readonly<Record<string, { readonly description?: string; readonly content?: Media }>>
}
interface Route {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}

/** The whole page. Every text of the document is escaped. */
export function referencePage(document: { readonly paths?: object }): string {
  const routes = Object.entries((document.paths ?? {}) as Record<string, Record<string, Operation>>).flatMap(
    ([path, operations]) =>
      Object.entries(operations).map(
        ([method, operation]): Route => ({ method: method.toUpperCase(), path, operation }),
      ),
  )
  const byTag = Map.groupBy(routes, ({ operation }) => operation.tags?.[0] ?? 'server')
  const links = [...byTag.keys()].map((tag) => `<a href="#${escaped(tag)}">${escaped(tag)}</a>`).join('')
  const parts = [...byTag].map(
    ([tag, own]) => `<h2 id="${escaped(tag)}">${escaped(tag)}</h2>${own.map(routeSection).join('')}`,
  )
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>coatcheck API</title><style>${STYLE}</style></head><body><h1>coatcheck API</h1>
<p>The same as <a href="/openapi.json">openapi.json</a>. Send <code>Authorization: Bearer TOKEN</code>.</p>
<nav>${links}</nav>${parts.join('')}</body></html>`
}

function routeSection({ method, path, operation }: Route): string {
  const { summary = '', description = '', parameters = [], requestBody, responses = {} } = operation
  const rows = parameters.map((each) =>
    row(
      each.name,
      `${each.in}, ${typeText(each.schema)}${each.required === true ? ', required' : ''}`,
      each.description,
    ),
  )
  const body = schemaOf(requestBody?.content)
  const answers = Object.entries(responses).map(([status, { description: says = '', content }]) => {
    const schema = schemaOf(content)
    return `<details><summary>${escaped(status)}: ${escaped(says)}</summary>${schema === null ? '' : fieldTable(schema)}</details>`
  })
  return `<section><h3><b>${escaped(method)}</b> <code>${escaped(path)}</code></h3><p>${escaped(summary)}.
<span class="need">${escaped(description)}</span></p>${rows.length === 0 ? '' : `<table>${rows.join('')}</table>`}
${body === null ? '' : `<details open><summary>Body</summary>${fieldTable(body)}</details>`}${answers.join('')}</section>`
}

function schemaOf(content: Media | undefined): Schema | null {
  return Object.values(content ?? {})[0]?.schema ?? null
}

function fieldTable(schema: Schema): string {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) =>
    row(name, typeText(field) + (schema.required?.includes(name) === true ? ', required' : ''), describedBy(field)),
  )
  return rows.length === 0 ? `<p>${escaped(typeText(schema))}</p>` : `<table>${rows.join('')}</table>`
}

function row(name: string, type: string, description = ''): string {
  return `<tr><th><code>${escaped(name)}</code></th><td>${escaped(type)}</td><td>${escaped(description)}</td></tr>`
}

function describedBy(schema: Schema): string | undefined {
  return schema.description ?? schema.anyOf?.find((side) => side.description !== undefined)?.description
}

function typeText(schema: Schema | undefined): string {
  if (schema === undefined) return 'any'
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(' or ')
  if (schema.enum !== undefined) return schema.enum.map((each) => JSON.stringify(each)).join(' or ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.items !== undefined) return `list of ${typeText(schema.items)}`
  return [schema.type ?? 'any'].flat().join(' or ')
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
}
