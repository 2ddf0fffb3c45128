/** What the foreign contracts are served from: the same stores as the API's own routes, and nothing of their own. */
import type { ApiDeps } from '../dependencies.ts'

export type CompatDeps = Pick<
  ApiDeps,
  | 'secrets'
  | 'reveals'
  | 'sandboxes'
  | 'tokens'
  | 'workspaces'
  | 'vaults'
  | 'principals'
  | 'policies'
  | 'audit'
  | 'proxyUrl'
  | 'trust'
>
