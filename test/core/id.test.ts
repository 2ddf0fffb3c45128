/** Ids sort by creation, and one id has one UUID and one ULID form. */
import { assert, property, uuid } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isUuid, ulidOf, uuidOfUlid, uuidv7 } from '../../src/core/id.ts'

describe('an id', () => {
  it('is a UUIDv7 that sorts by time', () => {
    expect(uuidv7(1)).toMatch(/^00000000-0001-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(uuidv7(1_000) < uuidv7(1_001)).toBe(true)
  })

  it('has the same 128 bits as a ULID and back', () => {
    expect(ulidOf('00000000-0000-0000-0000-000000000000')).toBe('0'.repeat(26))
    expect(ulidOf('ffffffff-ffff-ffff-ffff-ffffffffffff')).toBe('7ZZZZZZZZZZZZZZZZZZZZZZZZZ')
    // The example of the ULID specification.
    expect(ulidOf('01563e3a-b5d3-d676-4c61-efb99302bd5b')).toBe('01ARZ3NDEKTSV4RRFFQ69G5FAV')
    assert(property(uuid(), (id) => uuidOfUlid(ulidOf(id)) === id && uuidOfUlid(ulidOf(id).toLowerCase()) === id))
  })

  it('keeps its order as a ULID', () => {
    assert(property(uuid(), uuid(), (a, b) => a < b === ulidOf(a) < ulidOf(b)))
  })

  it.each([
    '',
    '8ZZZZZZZZZZZZZZZZZZZZZZZZZ',
    '0'.repeat(25),
    '0'.repeat(27),
    `${'0'.repeat(25)}U`,
    `${'0'.repeat(25)}I`,
  ])('is not made of %j', (text) => {
    expect(uuidOfUlid(text)).toBeNull()
  })

  it('is not shown as a ULID when it is none', () => {
    expect(isUuid('x')).toBe(false)
    expect(() => ulidOf('x')).toThrow(TypeError)
  })
})
