/** What is written down about the settings (the commented file, the schema, the examples) is what the program does. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Compile } from 'typebox/schema'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { commentedYaml, jsonSchema } from '../../config/generate.ts'
import { defaultSettings, loadSettings } from '../../src/config.ts'
import { SETTING_PATHS, SETTINGS } from '../../src/settings-table.ts'

const config = join(import.meta.dirname, '../../config')
const vectors = join(import.meta.dirname, '../vectors/settings')
const text = (name: string): string => readFileSync(join(config, name), 'utf8')

describe('config/', () => {
  it('holds exactly the commented file and the schema that the table generates', () => {
    const remedy = 'run: node config/generate.ts'
    expect(text('coatcheck.yaml'), remedy).toBe(commentedYaml())
    expect(text('coatcheck.schema.json'), remedy).toBe(jsonSchema())
  })

  it('holds a commented file that is the defaults, with one comment for each setting', () => {
    expect(loadSettings({ file: join(config, 'coatcheck.yaml'), env: {} })).toEqual(defaultSettings())
    for (const path of SETTING_PATHS) expect(text('coatcheck.yaml')).toContain(`# ${SETTINGS[path].comment}\n`)
  })

  const examples = readdirSync(join(config, 'examples'))
  it.each(examples)('holds an example that loads: %s', (name) => {
    expect(loadSettings({ file: join(config, 'examples', name), env: {} })).not.toEqual(defaultSettings())
  })

  it('holds the four examples that the documentation names', () => {
    expect(examples.toSorted()).toEqual([
      'corporate-proxy.yaml',
      'locked-down.yaml',
      'sidecar.yaml',
      'team-server.yaml',
    ])
  })
})

describe('the schema', () => {
  const schema = Compile(JSON.parse(jsonSchema()) as object)
  const accepts = (file: string): boolean => schema.Check(parse(readFileSync(file, 'utf8')))

  it('accepts the commented file and every example', () => {
    const files = ['coatcheck.yaml', ...readdirSync(join(config, 'examples')).map((name) => `examples/${name}`)]
    expect(files.filter((name) => !accepts(join(config, name)))).toEqual([])
  })

  it('accepts every value that the program accepts', () => {
    const rows = JSON.parse(readFileSync(join(vectors, 'values.json'), 'utf8')) as { path: string; written: unknown }[]
    const nested = rows.map(({ path, written }) =>
      path.split('.').reduceRight<unknown>((value, name) => ({ [name]: value }), written),
    )
    expect(nested.filter((value) => !schema.Check(value))).toEqual([])
  })

  it('refuses unknown keys, wrong kinds of value, and rules that both allow and deny', () => {
    for (const name of ['every-group', 'unknown-keys', 'egress-rules', 'a-list', 'a-word', 'groups-as-values']) {
      expect(accepts(join(vectors, 'mistakes', `${name}.yaml`)), name).toBe(false)
    }
  })
})
