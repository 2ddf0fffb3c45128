/**
 * JSON pointers (RFC 6901) in one normal form, so that a placement and a place in a body compare as texts.
 *
 * A place whose keys hold control characters or a placeholder, or that lies too deep, has no pointer here, and only the
 * placement for the whole body covers it.
 */
import { MARKER } from './placeholder.ts'

/** References in a pointer. */
export const POINTER_DEPTH = 16
const POINTER_LENGTH = 256
// oxlint-disable-next-line no-control-regex -- names with control characters would forge lines where they are shown
const POINTER = /^(?:\/(?:[^~/\x00-\x1f\x7f-\x9f\p{Cs}\p{Zl}\p{Zp}]|~[01])*)+$/u

/** True for the pointer of one place below the root. */
export function isPointer(text: string): boolean {
  if (text.length > POINTER_LENGTH || text.includes(MARKER) || !POINTER.test(text)) return false
  return text.split('/').length - 1 <= POINTER_DEPTH
}

/** The pointer through these keys and indexes, outermost first; null when there is none. */
export function pointerThrough(references: readonly string[]): string | null {
  const pointer = references.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
  return isPointer(pointer) ? pointer : null
}
