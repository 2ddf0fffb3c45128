/** Contract: a time means the same on every machine, or it is refused. */
import { describe, expect, it } from 'vitest'
import { parseExpiry, parsePast } from '../../src/cli/when.ts'

const NOW = Date.parse('2030-01-31T12:00:00.000Z')

describe('times', () => {
  for (const [text, expected] of [
    ['30s', '2030-01-31T12:00:30.000Z'],
    ['45m', '2030-01-31T12:45:00.000Z'],
    ['12h', '2030-02-01T00:00:00.000Z'],
    ['30d', '2030-03-02T12:00:00.000Z'],
    ['2w', '2030-02-14T12:00:00.000Z'],
    ['2031-01-01', '2031-01-01T00:00:00.000Z'],
    ['2031-01-01T10:00Z', '2031-01-01T10:00:00.000Z'],
    ['2031-01-01T10:00:00.5+02:00', '2031-01-01T08:00:00.500Z'],
    ['never', null],
  ] as const) {
    it(`take ${text}`, () => expect(parseExpiry(text, NOW)).toBe(expected))
  }

  it('are counted back for --since', () => expect(parsePast('1h', NOW, '--since')).toBe('2030-01-31T11:00:00.000Z'))

  for (const text of [
    '',
    'soon',
    '1',
    'h',
    '-1d',
    '1.5h',
    '1y',
    '9999999d',
    '2031-13-01',
    '2031-01-01T10:00:00',
    '1/2/2031',
    'Tue',
    '1893456000',
  ]) {
    it(`refuse "${text}"`, () => expect(() => parseExpiry(text, NOW)).toThrow(/--expires is not a time/))
  }
})
