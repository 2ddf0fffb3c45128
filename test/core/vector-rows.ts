/** Reads the rows of one file under test/vectors. */
import { readFileSync } from 'node:fs'

export function vectorRows(file: string): readonly unknown[] {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8')) as unknown[]
}
