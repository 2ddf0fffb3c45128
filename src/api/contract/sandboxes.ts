/** Sandboxes: their mounts, environment and token. */
import { type Static, Type } from 'typebox'
import { closed, Items, nameField, StringMap } from './fields.ts'

const mountsField = Type.Immutable(
  Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,255}$' }), nameField, {
    ...closed,
    maxProperties: 500,
    description: 'An object that maps environment variable names (letters, digits, _) to secret names.',
  }),
)
export const SandboxCreate = Type.Object({ name: nameField, mounts: Type.Optional(mountsField) }, closed)
export const MountsReplace = Type.Object({ mounts: mountsField }, closed)

const sandboxFields = {
  id: Type.String(),
  workspaceId: Type.String(),
  name: Type.String(),
  mounts: StringMap,
  /** Environment variable name -> what the workload gets: placeholders. */
  env: StringMap,
  createdAt: Type.String(),
  updatedAt: Type.String(),
}
export const SandboxDocument = Type.Object(sandboxFields)
export type SandboxDocument = Static<typeof SandboxDocument>
export const SandboxPage = Items(SandboxDocument)

/** The one answer that shows a sandbox's token; `env` also holds the proxy and trust variables. */
export const SandboxCredentials = Type.Object({ ...sandboxFields, token: Type.String(), proxyUrl: Type.String() })
export type SandboxCredentials = Static<typeof SandboxCredentials>

/** A sandbox's whole environment as far as it can be told again: its proxy URL names the sandbox and lacks the token. */
export const SandboxEnvironment = Type.Object({
  id: Type.String(),
  name: Type.String(),
  proxyUrl: Type.String(),
  env: StringMap,
})
export type SandboxEnvironment = Static<typeof SandboxEnvironment>
