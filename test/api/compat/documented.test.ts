/** docs/contracts.md links each capability of each contract to a test: each link's title is the name of a test in the file it names. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const docs = new URL('../../../docs/contracts.md', import.meta.url)
const text = readFileSync(docs, 'utf8')

it('every cell that is not empty names a test that is there', () => {
  const rows = text.split('\n').filter((line) => line.startsWith('| ') && line.includes('.test.ts "'))
  expect(rows.length).toBeGreaterThan(25)
  for (const row of rows) {
    const cells = row.split(' | ').slice(1)
    for (const cell of cells) expect(cell.replace(/ \|$/, '')).toMatch(/^–$|^\[.+\]\(\.\.\/test\/.+ ".+"\)$/)
  }
  const links = [...text.matchAll(/\]\((\.\.\/test\/[^ )]+) "([^"]+)"\)/g)]
  expect(links.length).toBeGreaterThan(80)
  for (const [, file = '', title = ''] of links) {
    expect(readFileSync(new URL(file, docs), 'utf8').replace(/',?\n\s*'/g, ''), file).toContain(title)
  }
})
