/**
 * The OpenAPI document as a judge: whether an answer's JSON is what the document says of that route and status. It knows routes only
 * from the document, so an answer that is not documented does not pass.
 */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'

export interface OpenApiOperation {
  readonly operationId?: string
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly security?: readonly object[]
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly description?: string
    readonly schema?: object
  }[]
  readonly requestBody?: { readonly content: Media }
  readonly responses: Readonly<Record<string, { readonly description?: string; readonly content?: Media }>>
}
type Media = Readonly<Record<string, { readonly schema?: object }>>

export interface OpenApiDocument {
  readonly openapi: string
  readonly info: Readonly<Record<string, unknown>>
  readonly components: { readonly securitySchemes: Readonly<Record<string, object>>; readonly schemas?: object }
  readonly paths: Readonly<Record<string, Readonly<Record<string, OpenApiOperation>>>>
}

export class Documented {
  readonly #document: OpenApiDocument
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
  readonly #validators = new Map<string, ValidateFunction>()

  constructor(document: OpenApiDocument) {
    this.#document = document
  }

  /** What is wrong with the answer, in words; empty when nothing is. Paths that are no route answer `not_found`. */
  mistakes(method: string, url: string, status: number, json: unknown): readonly string[] {
    const found = this.#operation(method, url.split('?')[0] ?? '')
    if (found === undefined) return status >= 400 ? [] : [`${method} ${url} is not documented`]
    const { path, operation } = found
    const answer = operation.responses[String(status)] ?? (status >= 400 ? operation.responses['default'] : undefined)
    // Health and the description of the API refuse nothing of their own.
    if (answer === undefined)
      return status >= 400 && operation.security?.length === 0 ? [] : [`${path} has no ${status}`]
    const schema = answer.content?.['application/json']?.schema
    if (schema === undefined || json === undefined) return []
    const validate = this.#validator(`${method} ${path} ${status}`, schema)
    if (validate(json)) return []
    return (validate.errors ?? []).map((error) => `${method} ${path} ${status}${error.instancePath} ${error.message}`)
  }

  #validator(key: string, schema: object): ValidateFunction {
    const known = this.#validators.get(key) ?? this.#ajv.compile(schema)
    this.#validators.set(key, known)
    return known
  }

  /** A path without parameters comes before one with. */
  #operation(method: string, path: string): { path: string; operation: OpenApiOperation } | undefined {
    const sent = path.split('/')
    const fitting = Object.keys(this.#document.paths).filter((template) => fits(template.split('/'), sent))
    const [best] = fitting
      .filter((template) => this.#document.paths[template]?.[method.toLowerCase()] !== undefined)
      .toSorted((a, b) => a.split('{').length - b.split('{').length)
    const operation = best === undefined ? undefined : this.#document.paths[best]?.[method.toLowerCase()]
    return best === undefined || operation === undefined ? undefined : { path: best, operation }
  }
}

function fits(template: readonly string[], sent: readonly string[]): boolean {
  return template.length === sent.length && template.every((part, at) => part.startsWith('{') || part === sent[at])
}
