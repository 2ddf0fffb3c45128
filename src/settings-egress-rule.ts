/** An egress rule as a file writes it: `{ deny: "*.example.com", ports: [443], methods: [POST], paths: ["/v1/*"] }`. */
import type { EgressRule } from './core/egress.ts'
import { compileEgress } from './core/egress.ts'
import { asCoatcheckError } from './core/errors.ts'
import { readHostPattern } from './core/host-pattern.ts'
import type { Problem, Tree, TreeMap } from './settings-document.ts'
import type { JsonSchema, Kind, Report } from './settings-kinds.ts'
import { list, notA, text, wholeNumber } from './settings-kinds.ts'

const host = text(parseRuleHost, { examples: ['api.example.com', '*.example.com', '*'] })

const NARROWING = {
  ports: list(wholeNumber(1, 65_535)),
  methods: list(text((given) => given)),
  paths: list(text((given) => given)),
} as const

type NarrowingName = keyof typeof NARROWING

const NARROWING_NAMES = Object.keys(NARROWING) as readonly NarrowingName[]
const KEYS = ['allow', 'deny', ...NARROWING_NAMES]

export const egressRule: Kind<EgressRule> = {
  form: 'json',
  schema: {
    type: 'object',
    properties: {
      allow: host.schema,
      deny: host.schema,
      ...Object.fromEntries(Object.entries(NARROWING).map(([name, kind]) => [name, atLeastOne(kind.schema)])),
    },
    oneOf: [{ required: ['allow'] }, { required: ['deny'] }],
    additionalProperties: false,
  },
  read(tree, path, report) {
    if (tree.kind !== 'map') {
      return report(tree.line, path, { ...notA('a map', tree), fix: 'Write { allow: HOST } or { deny: HOST }' })
    }
    const rule = readRule(tree, path, report)
    if (!rule) return undefined
    // Judged as under `default: deny`, where every rule means something; `ruleMistake` asks for the default at hand.
    const problem = ruleMistake(rule, 'deny')
    return problem ? report(tree.line, path, problem) : Object.freeze(rule)
  },
}

function parseRuleHost(given: string): string {
  if (given !== '*') readHostPattern(given)
  return given
}

/** What core/egress.ts has against this rule under this default, or undefined. */
export function ruleMistake(rule: EgressRule, standard: 'allow' | 'deny'): Problem | undefined {
  try {
    compileEgress({ default: standard, ports: [443], rules: [rule] })
    return undefined
  } catch (error) {
    const what = asCoatcheckError(error)
      .message.replace(/^The egress rules are not usable: /, '')
      .replaceAll('rules[0]: ', '')
    return {
      what: what.replace(/\.$/, ''),
      fix: 'Write { deny: HOST, ports: [443], methods: [POST], paths: ["/v1/*"] }',
    }
  }
}

function readRule(tree: TreeMap, path: string, report: Report): EgressRule | undefined {
  const strange = [...tree.entries].filter(([key]) => !KEYS.includes(key))
  for (const [key, entry] of strange) {
    report(entry.line, `${path}.${key}`, { what: 'a rule has no such part', fix: `Its parts are ${KEYS.join(', ')}` })
  }
  const actions = (['allow', 'deny'] as const).filter((key) => tree.entries.has(key))
  const [action] = actions
  if (action === undefined || actions.length > 1) {
    const what = action ? 'the rule both allows and denies' : 'the rule neither allows nor denies'
    return report(tree.line, path, { what, fix: 'Write { allow: HOST } or { deny: HOST }' })
  }
  const name = host.read(tree.entries.get(action)?.value as Tree, `${path}.${action}`, report)
  const parts = NARROWING_NAMES.map((part) => readPart(part, tree, path, report))
  if (name === undefined || strange.length > 0 || parts.includes(undefined)) return undefined
  return Object.assign({ action, host: name }, ...parts) as EgressRule
}

/** `{}` when the rule does not have this part; undefined when it was reported. */
function readPart(name: NarrowingName, tree: TreeMap, path: string, report: Report): object | undefined {
  const entry = tree.entries.get(name)
  if (!entry) return {}
  const value = NARROWING[name].read(entry.value, `${path}.${name}`, report)
  return value && { [name]: value }
}

function atLeastOne(schema: JsonSchema): JsonSchema {
  return { ...schema, minItems: 1 }
}
