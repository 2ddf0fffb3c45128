import { describe, expect, it } from 'vitest'
import type { CoatcheckError } from '../../src/core/errors.ts'
import {
  allowsSpot,
  DEFAULT_PLACEMENTS,
  formatPlacement,
  formatSpot,
  isCredentialHeader,
  parsePlacement,
  type Spot,
} from '../../src/core/placement.ts'
import { vectorRows } from './vector-rows.ts'

describe('placement texts', () => {
  const rows = vectorRows('placements/parse.json') as readonly {
    text: string
    normal?: string
    refused?: boolean
    why?: string
  }[]

  it.each(rows.filter((row) => !row.refused))('"$text" is read and written back', ({ text, normal }) => {
    const placement = parsePlacement(text)
    expect(formatPlacement(placement)).toBe(normal)
    expect(parsePlacement(formatPlacement(placement))).toEqual(placement)
  })

  it.each(rows.filter((row) => row.refused))('"$text" is refused: $why', ({ text }) => {
    expect(() => parsePlacement(text)).toThrow(expect.objectContaining({ code: 'invalid_input' }))
  })

  it('are listed for whoever writes one that does not exist', () => {
    try {
      parsePlacement('cookie')
      expect.unreachable()
    } catch (error) {
      expect((error as CoatcheckError).hint).toMatch(/credential-headers, header:<name>.*body:<.*trailer/)
    }
  })
})

describe('credential headers', () => {
  const rows = vectorRows('placements/credential-headers.json') as readonly {
    name: string
    credential: boolean
    why?: string
  }[]

  it.each(rows.filter((row) => row.credential))('$name is one', ({ name }) => {
    expect(isCredentialHeader(name)).toBe(true)
  })

  it.each(rows.filter((row) => !row.credential))('"$name" is none: $why', ({ name }) => {
    expect(isCredentialHeader(name)).toBe(false)
  })

  it('are what a secret gets by default', () => {
    expect(DEFAULT_PLACEMENTS.map(formatPlacement)).toEqual(['credential-headers'])
  })
})

describe('which placements allow which spots', () => {
  const rows = vectorRows('placements/spots.json') as readonly {
    placements: readonly string[]
    spot: Spot
    text: string
    allowed: boolean
  }[]

  it.each(rows)('$placements: $text is allowed: $allowed', ({ placements, spot, text, allowed }) => {
    expect(allowsSpot(placements.map(parsePlacement), spot)).toBe(allowed)
    expect(formatSpot(spot)).toBe(text)
  })
})

describe('a trailer', () => {
  const rows = vectorRows('placements/trailers.json') as readonly { name: string; takes: boolean; why?: string }[]
  const takes = (name: string) => {
    return allowsSpot([{ kind: 'trailer' }, { kind: 'header', name: '*' }], { kind: 'trailer', name, pair: 0 })
  }

  it.each(rows.filter((row) => row.takes))('$name takes a value', ({ name }) => {
    expect(takes(name)).toBe(true)
  })

  it.each(rows.filter((row) => !row.takes))('$name never does: $why', ({ name }) => {
    expect(takes(name)).toBe(false)
  })
})
