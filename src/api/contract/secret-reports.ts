/** What is told about many secrets at once: which one a mount means, which are unused or due, and import and export. */
import { type Static, Type } from 'typebox'
import { closed, filterField, Items, Nullable, paging, Strings, timeField } from './fields.ts'
import { SecretDocument } from './secrets.ts'

export const EffectiveQuery = Type.Object({ sandbox: filterField }, closed)

const passedOver = Type.Object({
  id: Type.String(),
  scopeId: Type.String(),
  why: Type.Enum(['overridden', 'deleted']),
  message: Type.String(),
})
const refusal = Type.Object({
  state: Type.Enum(['current', 'expired', 'exhausted', 'disabled', 'deleted', 'missing']),
  message: Type.String(),
})
const effectiveMount = Type.Object({
  env: Type.String(),
  ref: Type.String(),
  secret: Nullable(SecretDocument),
  refusal: Nullable(refusal),
  hosts: Nullable(Strings),
  placements: Strings,
  others: Type.Immutable(Type.Array(passedOver)),
})
export const EffectiveDocument = Type.Object({
  sandboxId: Type.String(),
  mounts: Type.Immutable(Type.Array(effectiveMount)),
  notMounted: Type.Immutable(Type.Array(Type.Object({ id: Type.String(), name: Type.String() }))),
})
export type EffectiveDocument = Static<typeof EffectiveDocument>

export const UnusedQuery = Type.Object({ ...paging, since: timeField }, closed)
export const UnusedPage = Items(Type.Object({ secret: SecretDocument, days: Type.Integer() }))
export type UnusedPage = Static<typeof UnusedPage>
export const DuePage = Items(SecretDocument)

const format = Type.Enum(['dotenv', 'json'], { description: 'dotenv or json.' })

export const ImportRequest = Type.Object(
  {
    format,
    text: Type.String({ maxLength: 1_000_000, description: 'The whole file, as one string.' }),
    ifExists: Type.Optional(
      Type.Enum(['refuse', 'skip', 'replace'], { description: 'refuse (default), skip or replace.' }),
    ),
  },
  closed,
)
export type ImportRequest = Static<typeof ImportRequest>

export const ImportReport = Type.Object({
  created: Strings,
  replaced: Strings,
  skipped: Strings,
  /** What was refused, in the order of the file; the rest was written all the same. */
  failed: Type.Immutable(
    Type.Array(Type.Object({ name: Type.String(), code: Type.String(), message: Type.String(), hint: Type.String() })),
  ),
})
export type ImportReport = Static<typeof ImportReport>

export const ExportRequest = Type.Object(
  {
    format,
    prefix: Type.Optional(filterField),
  },
  closed,
)
export type ExportRequest = Static<typeof ExportRequest>

export const ExportDocument = Type.Object({
  format: Type.Enum(['dotenv', 'json']),
  /** The file, with values. */
  text: Type.String(),
  count: Type.Integer(),
  /** Those whose value may not be read, by name: not in the file. */
  leftOut: Type.Immutable(Type.Array(Type.Object({ name: Type.String(), code: Type.String() }))),
})
export type ExportDocument = Static<typeof ExportDocument>
