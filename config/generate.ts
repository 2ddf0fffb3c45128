/**
 * Writes config/coatcheck.yaml and config/coatcheck.schema.json from the table of settings: `node config/generate.ts`.
 * test/config/generated.test.ts fails while either differs from what the table says.
 */
import { writeFileSync } from 'node:fs'
import { stringify } from 'yaml'
import type { SettingGroup } from '../src/settings.ts'
import { SETTING_PATHS, SETTINGS, variableOf } from '../src/settings-table.ts'

const HEADER = `# yaml-language-server: $schema=./coatcheck.schema.json
# Every setting with its default. Each is also an environment variable, which wins over this file: the path in capitals,
# joined by "_" (proxy.listen is COATCHECK_PROXY_LISTEN), lists and maps as JSON.
# Written by config/generate.ts from src/settings-table.ts.
`

const GROUPS: Readonly<Record<SettingGroup, string>> = {
  proxy: 'The listener that sandboxes use.',
  gateway: 'Origins under the address of a gateway, for clients that take a base URL but no proxy.',
  transparent: 'Connections that a firewall redirects here, for clients that know of no proxy; see deploy/redirect.',
  socks: 'The same tunnels as through the proxy, asked for in SOCKS5 (RFC 1928, 1929).',
  api: 'The listener of the API and the console.',
  egress: 'Where sandboxes may go at all.',
  upstream: 'How upstreams are reached.',
  secrets: 'What holds for every secret of this server.',
  audit: 'The chained log of what was released, withheld and refused.',
  keyring: 'The keys that seal values at rest.',
  log: 'What the operator reads on stderr.',
  limits: 'What one sandbox, or all of them, may use up.',
}

/** Every setting and its default, with its comment. */
export function commentedYaml(): string {
  let group: string | undefined
  const lines = SETTING_PATHS.flatMap((path) => {
    const [first = '', name] = path.split('.')
    const indent = name === undefined ? '' : '  '
    const opening = name !== undefined && first !== group ? ['', `# ${GROUPS[first as SettingGroup]}`, `${first}:`] : []
    group = first
    const { comment, default: standard } = SETTINGS[path]
    const value = stringify(standard, { collectionStyle: 'flow', flowCollectionPadding: false }).trimEnd()
    return [...opening, `${indent}# ${comment}`, `${indent}${name ?? first}: ${value}`]
  })
  return `${HEADER}\n${lines.join('\n')}\n`
}

/** JSON Schema 2020-12 of a settings file. */
export function jsonSchema(): string {
  const root: Record<string, unknown> = {}
  for (const path of SETTING_PATHS) {
    const [first = '', name] = path.split('.')
    const { comment, default: standard, kind } = SETTINGS[path]
    const description = `${comment} Variable: ${variableOf(path)}.`
    const schema = { description, default: standard, ...kind.schema }
    if (name === undefined) root[first] = schema
    else root[first] = group(first, root[first], { [name]: schema })
  }
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'coatcheck settings',
    type: ['object', 'null'],
    properties: root,
    additionalProperties: false,
  }
  return `${JSON.stringify(schema, null, 2)}\n`
}

function group(name: string, sofar: unknown, property: object): object {
  const { properties = {} } = (sofar ?? {}) as { properties?: object }
  return {
    description: GROUPS[name as SettingGroup],
    type: ['object', 'null'],
    properties: { ...properties, ...property },
    additionalProperties: false,
  }
}

if (import.meta.main) {
  writeFileSync(new URL('coatcheck.yaml', import.meta.url), commentedYaml())
  writeFileSync(new URL('coatcheck.schema.json', import.meta.url), jsonSchema())
}
