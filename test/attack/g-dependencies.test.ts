/** What dependencies with a history are let near: node-forge encodes what we made, and reads nothing. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import asn1 from 'node-forge/lib/asn1.js'
import { expect, it, vi } from 'vitest'
import { Rig } from '../support/rig.ts'
import { send } from '../support/sandbox-client.ts'

const SOURCE = join(import.meta.dirname, '../../src')
/** All of ASN.1 that takes bytes apart. */
const READERS = ['fromDer', 'derToOid', 'derToInteger', 'validate', 'utcTimeToDate', 'generalizedTimeToDate'] as const

it('G10 node-forge is one file of ASN.1 encoding in one place, and neither parses, signs nor verifies', async () => {
  const names = (await readdir(SOURCE, { recursive: true })).filter((name) => /(?<!\.d)\.ts$/.test(name))
  const importing: string[] = []
  for (const name of names) {
    const text = await readFile(join(SOURCE, name), 'utf8')
    for (const [, module = ''] of text.matchAll(/from '(node-forge[^']*)'/g)) importing.push(`${name}: ${module}`)
  }
  expect(importing).toEqual(['authority/der.ts: node-forge/lib/asn1.js'])
  const der = await readFile(join(SOURCE, 'authority/der.ts'), 'utf8')
  expect(READERS.filter((name) => der.includes(name))).toEqual([])
})

it('G10 nor does it while an authority is made, kept, opened and issues', async () => {
  const functions = asn1 as unknown as Record<string, (...given: unknown[]) => unknown>
  const readers = READERS.map((name) => vi.spyOn(functions, name))
  const encoding = vi.spyOn(asn1, 'toDer')
  const rig = await Rig.start()
  try {
    expect((await send(rig)).status).toBe(200)
    expect(encoding.mock.calls.length).toBeGreaterThan(0)
    for (const reader of readers) expect(reader).not.toHaveBeenCalled()
  } finally {
    await rig.stop()
    vi.restoreAllMocks()
  }
})
