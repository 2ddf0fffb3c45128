/** The parts that the schemas of several nouns are made of. */
import { type TObjectOptions, type TSchema, Type } from 'typebox'
import { PAGE_LIMIT } from '../contract.ts'

export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
export const Strings = Type.Immutable(Type.Array(Type.String()))
/** Any key, also one with a line break, which a Record's own pattern leaves unchecked. */
const AnyKey = Type.String({ pattern: '^[\\s\\S]*$' })
export const MapOf = <T extends TSchema>(value: T, options: TObjectOptions = {}) =>
  Type.Immutable(Type.Record(AnyKey, value, options))
export const StringMap = MapOf(Type.String())
/** Any JSON object. */
export const JsonObject = MapOf(Type.Unknown())
export const Items = <T extends TSchema>(item: T) =>
  Type.Object({ items: Type.Immutable(Type.Array(item)), nextCursor: Nullable(Type.String()) })
/** Of a request: a field that is not declared is refused. */
export const closed = { additionalProperties: false } as const

export const texted = (minLength: number, maxLength: number, description: string) =>
  Type.String({ minLength, maxLength, description })
export const nameField = texted(1, 256, 'A name of 1 to 256 characters.')
export const filterField = texted(1, 256, 'A text of 1 to 256 characters.')
const described = { description: 'Text of at most 1024 characters, or null.' }
export const descriptionField = Nullable(texted(0, 1024, described.description))
export const externalField = Nullable(texted(1, 256, 'A text of 1 to 256 printable characters, or null.'))
export const flagField = Type.Boolean({ description: 'true or false.' })

/** In a query, where everything is text. */
export const flagQuery = Type.Enum(['true', 'false'], { description: 'true or false.' })

const timeText = { format: 'date-time', maxLength: 64 } as const
export const timeField = Type.String({ ...timeText, description: 'A time such as 2030-01-31T12:00:00Z.' })
export const expiresAtField = Nullable(
  Type.String({ ...timeText, description: 'A time such as 2030-01-31T12:00:00Z, or null for never.' }),
)

const limit = Type.Integer({ minimum: 1, maximum: PAGE_LIMIT.max, description: 'A whole number from 1 to 200.' })
const cursor = texted(1, 1024, 'The nextCursor of the page before, unchanged.')
export const paging = { limit: Type.Optional(limit), cursor: Type.Optional(cursor) }
export const PageQuery = Type.Object(paging, closed)

export const IdOrName = Type.Object({ idOrName: texted(1, 256, 'An id or a name of 1 to 256 characters.') })
export const Id = Type.Object({ id: texted(1, 256, 'An id.') })
