/**
 * The place in a body that comes next: what may be put there and how, as a reader of that media type keeps it.
 *
 * A reader is shown every byte of the body once, in order, in pieces cut anywhere, and is asked where it stands at the
 * beginning of each placeholder. It copies what it must remember, a bounded amount, and never keeps a piece.
 */
import type { Writing } from './body-value.ts'
import type { BodyClosed } from './placement.ts'

export type BodyPlace =
  | {
      readonly open: true
      /** A JSON pointer or a field; null when the place cannot be named. */
      readonly selector: string | null
      readonly write: Writing
      /** How many of the bytes right before this place stand for themselves: a dress reaches back no further. */
      readonly literal: number
    }
  | { readonly open: false; readonly why: BodyClosed }

export interface PlaceReader {
  /** Reads bytes[from, to). */
  advance(bytes: Buffer, from: number, to: number): void
  /** Where the next byte stands. */
  here(): BodyPlace
}

export function closed(why: BodyClosed): BodyPlace {
  return { open: false, why }
}

/** For bodies in which all places are alike. */
export class SamePlace implements PlaceReader {
  readonly #place: BodyPlace

  constructor(place: BodyPlace) {
    this.#place = place
  }

  advance(): void {}

  here(): BodyPlace {
    return this.#place
  }
}
