/**
 * Requests that may be sent again with a key of the caller's choice, and then make one thing: what is remembered of the first, for 24
 * hours and across restarts, and by which a second one is known.
 */
import type { Principal } from './principal.ts'

export interface Repeatable {
  readonly principal: Pick<Principal, 'id' | 'scopeId'>
  /** Method and path. */
  readonly place: string
  /** As the caller chose it. */
  readonly key: string
  /** Kept as a digest, which is sealed. */
  readonly body: string
}

export interface KeptAnswer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** The first request of its key, to be ended by `answered` or `forget`. */
export interface Claim {
  readonly id: string
  readonly scopeId: string
  readonly digest: string
}

/** `other`: of another body. `open`: not answered, or it never will be. `once`: its answer is not kept. */
export type Repeated =
  | { readonly what: 'other' | 'open' | 'once' }
  | { readonly what: 'same'; readonly answer: KeptAnswer }

export interface Repetitions {
  /** Claims the key, or tells what became of the request that did. */
  claim(request: Repeatable): Promise<Claim | Repeated>
  /** Keeps the answer; null for one that is shown once. It must hold no value and no token. */
  answered(claim: Claim, answer: KeptAnswer | null): Promise<void>
  /** Nothing was made: the key may be used again. */
  forget(claim: Claim): Promise<void>
}
