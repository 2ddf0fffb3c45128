/**
 * YAML or JSON text as a tree in which every value knows its line, or the mistakes that keep it from being one.
 *
 * A settings file is plain data: one document, no anchors, aliases or tags, no key twice, no key that JavaScript
 * objects give a meaning to. Nothing of the text but key names is quoted in a mistake, because a value may be a credential.
 */
import type { Node, Pair, YAMLError } from 'yaml'
import { isAlias, isCollection, isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml'

/** What is wrong and how to put it right: two sentences, each without its full stop. */
export interface Problem {
  readonly what: string
  readonly fix: string
}

export interface DocumentMistake extends Problem {
  readonly line: number
}

/** Lines count from 1. */
export type Tree = TreeScalar | TreeList | TreeMap

export interface TreeScalar {
  readonly kind: 'scalar'
  readonly line: number
  readonly value: string | number | boolean | null
}

export interface TreeList {
  readonly kind: 'list'
  readonly line: number
  readonly items: readonly Tree[]
}

export interface TreeMap {
  readonly kind: 'map'
  readonly line: number
  readonly entries: ReadonlyMap<string, TreeEntry>
}

export interface TreeEntry {
  /** The key's own line. */
  readonly line: number
  readonly value: Tree
}

/** A tree as far as the text could be read; undefined when it could not be read at all. */
export interface ReadDocument {
  readonly tree: Tree | undefined
  readonly mistakes: readonly DocumentMistake[]
}

/** Longer than any settings file; the parser needs a multiple of this in memory. */
const MAX_CHARACTERS = 256 * 1024

/** Deeper than any setting nests. */
const MAX_DEPTH = 16

/** So that a mistake can show it on its line; 253 is the length of the longest host name. */
const PLAIN_KEY = /^[\x20-\x7e]{1,253}$/

const SPECIAL_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

const CLOSE = 'Close what was opened on or above this line'
const RUN_TOGETHER: Problem = {
  what: 'two keys run together: two colons on one line, or a line that is indented too far',
  fix: 'Indent the keys of one map alike, and put a value with a colon in quotes',
}

const SYNTAX: Partial<Record<YAMLError['code'], Problem>> = {
  BAD_INDENT: { what: 'the indentation is wrong, or a bracket above is open', fix: `Indent siblings alike. ${CLOSE}` },
  TAB_AS_INDENT: { what: 'a tab is used for indentation', fix: 'Indent with spaces' },
  BAD_SCALAR_START: { what: 'the value starts with a reserved character', fix: 'Put the value in quotes' },
  BAD_DQ_ESCAPE: {
    what: 'the text has an unknown backslash escape',
    fix: 'Use single quotes, or double the backslash',
  },
  MISSING_CHAR: { what: 'a quote, bracket, colon or comma is missing', fix: CLOSE },
  BLOCK_AS_IMPLICIT_KEY: RUN_TOGETHER,
  MULTILINE_IMPLICIT_KEY: RUN_TOGETHER,
}

const NOT_YAML: Problem = { what: 'this is not valid YAML', fix: 'Compare with config/coatcheck.yaml' }

export function readDocument(text: string): ReadDocument {
  if (text.length > MAX_CHARACTERS) {
    return failed(1, { what: `the text is longer than ${MAX_CHARACTERS} characters`, fix: 'Keep to settings' })
  }
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return failed(1, { what: 'the text nests too deeply', fix: `Nest at most ${MAX_DEPTH} levels` })
  }
}

function parse(text: string): ReadDocument {
  const lines = new LineCounter()
  const options = { lineCounter: lines, prettyErrors: false, uniqueKeys: false, logLevel: 'silent' } as const
  const documents = [...parseAllDocuments(text, options)]
  const [document, second] = documents
  if (!document) return { tree: undefined, mistakes: [] }
  if (second) {
    const line = lines.linePos(second.range[0]).line
    return failed(line, { what: 'a second YAML document starts here', fix: 'Keep one document in the file' })
  }
  const syntax = document.errors.map((error) => ({
    line: lines.linePos(error.pos[0]).line,
    ...(SYNTAX[error.code] ?? NOT_YAML),
  }))
  if (syntax.length > 0) return { tree: undefined, mistakes: firstOfEachLine(syntax) }
  const reader = new TreeReader(lines)
  const tree = document.contents === null ? undefined : reader.read(document.contents, 0)
  return { tree, mistakes: reader.mistakes }
}

function failed(line: number, problem: Problem): ReadDocument {
  return { tree: undefined, mistakes: [{ line, ...problem }] }
}

/** The parser often finds several consequences of one slip. */
function firstOfEachLine(mistakes: readonly DocumentMistake[]): DocumentMistake[] {
  const seen = new Set<number>()
  return mistakes.filter(({ line }) => !seen.has(line) && seen.add(line))
}

class TreeReader {
  readonly mistakes: DocumentMistake[] = []
  readonly #lines: LineCounter

  constructor(lines: LineCounter) {
    this.#lines = lines
  }

  /** Undefined when the node was reported. */
  read(node: Node, depth: number): Tree | undefined {
    const line = this.#lineOf(node)
    if (isAlias(node)) return this.#report(line, 'an alias (*name) is used', 'Write the value out')
    if (isCollection(node) || isScalar(node)) {
      if (node.anchor !== undefined) return this.#report(line, 'an anchor (&name) is used', 'Write the value out')
      if (node.tag !== undefined) return this.#report(line, 'a tag (!name) is used', 'Write the plain value')
    }
    if (depth > MAX_DEPTH) return this.#report(line, 'the text nests too deeply', `Nest at most ${MAX_DEPTH} levels`)
    if (isMap<Node, Node | null>(node)) return { kind: 'map', line, entries: this.#entries(node.items, depth) }
    if (isSeq<Node>(node)) {
      const items = node.items.map((item) => this.read(item, depth + 1)).filter((item) => item !== undefined)
      return { kind: 'list', line, items }
    }
    return this.#scalar(node, line)
  }

  #entries(pairs: readonly Pair<Node, Node | null>[], depth: number): Map<string, TreeEntry> {
    const entries = new Map<string, TreeEntry>()
    for (const { key, value } of pairs) {
      const line = this.#lineOf(key)
      const name = this.#keyName(key, line)
      if (name === undefined) continue
      const first = entries.get(name)
      if (first) {
        const where = first.line === line ? '' : ` (first on line ${first.line})`
        this.#report(line, `${name} is given a second time${where}`, 'Keep one of them')
        continue
      }
      const tree = value === null ? nullAt(line) : this.read(value, depth + 1)
      if (tree) entries.set(name, { line, value: tree })
    }
    return entries
  }

  #keyName(key: Node, line: number): string | undefined {
    if (!isScalar(key) || typeof key.value !== 'string' || key.anchor !== undefined || key.tag !== undefined) {
      return this.#report(line, 'a key is not plain text', 'Write the name as text')
    }
    if (!PLAIN_KEY.test(key.value)) {
      return this.#report(line, 'a key is not a name', 'Write at most 253 printable ASCII characters')
    }
    if (!SPECIAL_KEYS.has(key.value)) return key.value
    return this.#report(line, `${key.value} cannot be the name of anything here`, 'Remove it')
  }

  #scalar(node: Node, line: number): Tree | undefined {
    const value: unknown = isScalar(node) ? node.value : undefined
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      return { kind: 'scalar', line, value }
    }
    return this.#report(line, 'the value is of an unknown kind', 'Write text, a number, true, false, a list or a map')
  }

  #lineOf(node: Node): number {
    return this.#lines.linePos(node.range?.[0] ?? 0).line
  }

  #report(line: number, what: string, fix: string): undefined {
    this.mistakes.push({ line, what, fix })
    return undefined
  }
}

function nullAt(line: number): TreeScalar {
  return { kind: 'scalar', line, value: null }
}
