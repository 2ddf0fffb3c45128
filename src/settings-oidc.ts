/** `api.oidc` as a file writes it: `{ issuer: https://id.example.com, audience: coatcheck, jwks: ./jwks.json, roleClaim: role }`. */
import type { OidcSettings } from './settings.ts'
import type { TreeMap } from './settings-document.ts'
import { type Kind, notA, orNull, type Report, refuse, text } from './settings-kinds.ts'
import { parsePath } from './settings-texts.ts'

const PARTS = {
  issuer: text(parseIssuer),
  audience: text(parseWord),
  jwks: text(parseJwks),
  roleClaim: orNull(text(parseWord)),
} as const

type Part = keyof typeof PARTS

const NAMES = Object.keys(PARTS) as readonly Part[]
const REQUIRED: readonly Part[] = ['issuer', 'audience', 'jwks']
const FIX = 'Write { issuer: URL, audience: NAME, jwks: URL or FILE }'

export const oidcLogin: Kind<OidcSettings> = {
  form: 'json',
  schema: {
    type: 'object',
    properties: Object.fromEntries(Object.entries(PARTS).map(([name, kind]) => [name, kind.schema])),
    required: REQUIRED,
    additionalProperties: false,
  },
  read(tree, path, report) {
    if (tree.kind !== 'map') return report(tree.line, path, { ...notA('a map', tree), fix: FIX })
    const strange = [...tree.entries].filter(([key]) => !NAMES.some((name) => name === key))
    for (const [key, entry] of strange) {
      report(entry.line, `${path}.${key}`, {
        what: 'a login has no such part',
        fix: `Its parts are ${NAMES.join(', ')}`,
      })
    }
    const issuer = readPart('issuer', tree, path, report)
    const audience = readPart('audience', tree, path, report)
    const jwks = readPart('jwks', tree, path, report)
    const roleClaim = tree.entries.has('roleClaim') ? readPart('roleClaim', tree, path, report) : null
    if (strange.length > 0 || roleClaim === undefined) return undefined
    if (issuer === undefined || audience === undefined || jwks === undefined) return undefined
    return Object.freeze({ issuer: String(issuer), audience: String(audience), jwks: String(jwks), roleClaim })
  },
}

function readPart(name: Part, tree: TreeMap, path: string, report: Report): string | null | undefined {
  const entry = tree.entries.get(name)
  if (entry === undefined) return report(tree.line, path, { what: `${name} is missing`, fix: FIX })
  return PARTS[name].read(entry.value, `${path}.${name}`, report)
}

function parseIssuer(given: string): string {
  if (URL.canParse(given) && new URL(given).protocol === 'https:') return given
  return refuse('the issuer is no https URL', 'Write it as the tokens do, such as https://id.example.com')
}

function parseJwks(given: string): string {
  if (!given.includes('://')) return parsePath(given)
  if (URL.canParse(given) && new URL(given).protocol === 'https:') return given
  return refuse('the keys are fetched over https only', 'Write an https URL, or the path of a file')
}

function parseWord(given: string): string {
  if (/^[\x21-\x7e]{1,256}$/.test(given)) return given
  return refuse('this is not 1 to 256 printable characters without spaces', 'Write it as the tokens do')
}
