/** Cloud 66's envelopes, pages, numbers and errors. */
import { hash } from 'node:crypto'
import { type Static, type TSchema, Type } from 'typebox'
import type { Secret } from '../../core/secret.ts'
import { NAME_FORMS } from '../../core/secret-name.ts'
import { Nullable, texted } from '../contract/fields.ts'
import { MAX_VALUE_BYTES } from '../contract.ts'
import type { ErrorDialect } from './foreign-errors.ts'

const MAX_PER_PAGE = 100
const PER_PAGE = 30

export const PagedQuery = Type.Object({
  page: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, description: 'A whole number from 1.' })),
  per_page: Type.Optional(
    Type.Integer({ minimum: 1, maximum: MAX_PER_PAGE, description: `A whole number from 1 to ${MAX_PER_PAGE}.` }),
  ),
})
export const StackParams = Type.Object({ uid: texted(1, 768, 'The uid of a stack.') })
export const KeyParams = Type.Object({ key: texted(1, 768, 'A key.') })

/** As in an environment: no hyphen. */
export const keyField = Type.String({
  minLength: 1,
  maxLength: 256,
  pattern: NAME_FORMS.variable.source,
  description: 'A key of 1 to 256 letters, digits and _, not beginning with a digit.',
})
export const valueField = texted(1, MAX_VALUE_BYTES, `A string of 1 to ${MAX_VALUE_BYTES} bytes.`)

export const One = <T extends TSchema>(item: T) => Type.Object({ response: item })
export const Many = <T extends TSchema>(item: T) =>
  Type.Object({
    response: Type.Array(item),
    count: Type.Integer(),
    pagination: Type.Object({
      previous: Nullable(Type.Integer()),
      next: Nullable(Type.Integer()),
      current: Type.Integer(),
      per_page: Type.Integer(),
      count: Type.Integer(),
      pages: Type.Integer(),
    }),
  })

export interface PageNumbers {
  readonly page: number
  readonly perPage: number
}

export function pageNumbers({ page = 1, per_page: perPage = PER_PAGE }: Static<typeof PagedQuery>): PageNumbers {
  return { page, perPage }
}

/** The items of that page. */
export function slicePage<T>(all: readonly T[], { page, perPage }: PageNumbers): readonly T[] {
  return all.slice((page - 1) * perPage, page * perPage)
}

/** `shown` is one page of `count` items. */
export function many<T>(shown: readonly T[], count: number, { page, perPage }: PageNumbers) {
  const pages = Math.max(1, Math.ceil(count / perPage))
  const previous = page > 1 ? page - 1 : null
  const next = page < pages ? page + 1 : null
  return {
    response: [...shown],
    count: shown.length,
    pagination: { previous, next, current: page, per_page: perPage, count, pages },
  }
}

/** Their clients read numbers: 48 random bits of the id, the same every time. */
export function intOf(uuid: string): number {
  return Number.parseInt(uuid.replaceAll('-', '').slice(-12), 16)
}

/** What stands for the ciphertext: changes with the version, says nothing of value or key, and opens nothing. */
export function sealMark({ id, version }: Pick<Secret, 'id' | 'version'>): string {
  return `encrypted:AES256:${hash('sha256', `${id} ${version}`, 'base64')}`
}

/** `details` is what their client prints. An entry that is not valid is 422 here. */
export const CLOUD66_ERRORS: ErrorDialect = {
  statuses: { 410: 404, invalid_input: 422 },
  body: ({ title, code, text }) => ({ error: code, error_description: title, details: text }),
}
