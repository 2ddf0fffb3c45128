/**
 * What takes the same path takes the same time. A placeholder that is unknown, not mounted, deleted or another workspace's runs
 * the same statements and waits as often, so that there is nothing for a clock to tell apart.
 */
import { createHook } from 'node:async_hooks'
import { StatementSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { mintToken } from '../../src/core/placeholder.ts'
import type { SandboxIdentity } from '../../src/core/sandbox.ts'
import { SecretValue } from '../../src/core/secret.ts'
import { ALLOWED, Rig } from '../support/rig.ts'
import { type Answer, send } from '../support/sandbox-client.ts'
import { SecondWorkspace } from '../support/second-workspace.ts'

const READS = ['all', 'get', 'iterate', 'run'] as const
/** Something else may run meanwhile, so the least of so many is what counts. */
const TRIES = 30

let rig: Rig
let box: SandboxIdentity
/** What a sandbox might try, and has not. */
let tokens: ReadonlyMap<string, string>

beforeAll(async () => {
  rig = await Rig.start()
  const { data } = rig.app
  const identity = await data.sandboxes.authenticate(rig.sandbox.name, rig.sandbox.token)
  if (identity === undefined) throw new Error('the sandbox is not known')
  box = identity
  const create = async (name: string) => {
    const { secret } = await data.secrets.create(rig.principal, {
      name,
      value: SecretValue.fromText(`the value of ${name}`),
      hosts: [ALLOWED],
    })
    return secret.placeholder
  }
  const deleted = await create('deleted')
  await data.secrets.delete(rig.principal, 'deleted')
  const foreign = await SecondWorkspace.create(rig, 'the value of another workspace')
  tokens = new Map([
    ['unknown', mintToken()],
    ['not mounted', await create('unmounted')],
    ['deleted', deleted],
    ["another workspace's", foreign.placeholder],
  ])
})
afterAll(async () => {
  await rig.stop()
})

/** The statements that looking a token up runs, how many rows each gave, and how many promises it made. */
async function pathOf(token: string): Promise<{ statements: readonly string[]; promises: number }> {
  const statements: string[] = []
  const spies = READS.map((name) => {
    const original = StatementSync.prototype[name] as (...given: unknown[]) => unknown
    return vi.spyOn(StatementSync.prototype, name).mockImplementation(function (this: StatementSync, ...given) {
      const found = Reflect.apply(original, this, given)
      if (!this.sourceSQL.includes('FROM revision')) {
        statements.push(`${this.sourceSQL} -> ${Array.isArray(found) ? found.length : typeof found}`)
      }
      return found as never
    })
  })
  let promises = 0
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'PROMISE') promises += 1
    },
  }).enable()
  try {
    expect(await rig.app.data.mounted.find(box, token)).toBeUndefined()
  } finally {
    hook.disable()
    for (const spy of spies) spy.mockRestore()
  }
  return { statements, promises }
}

/** All of an answer but the id of its request. */
function shown(answer: Answer): string {
  const { requestId } = answer.error ?? { requestId: '-' }
  return `${answer.status}|${answer.rawHeaders.join('|')}|${answer.body.toString()}`.replaceAll(requestId, 'ID')
}

it('F13 placeholders that a sandbox does not have run the same statements and wait as often', async () => {
  const paths = new Map<string, { statements: readonly string[]; promises: number }>()
  for (const [kind, token] of tokens) {
    const tries: Awaited<ReturnType<typeof pathOf>>[] = []
    for (let i = 0; i < TRIES; i += 1) tries.push(await pathOf(token))
    const first = tries[0] as Awaited<ReturnType<typeof pathOf>>
    expect(tries.every(({ statements }) => statements.join() === first.statements.join())).toBe(true)
    paths.set(kind, { ...first, promises: Math.min(...tries.map(({ promises }) => promises)) })
  }
  const unknown = paths.get('unknown')
  expect(unknown?.statements).toHaveLength(1)
  expect(unknown?.promises).toBeGreaterThan(0)
  for (const [kind, path] of paths) expect(path, kind).toEqual(unknown)
})

it('F13 and are answered with the same bytes', async () => {
  const answers: string[] = []
  for (const token of tokens.values()) {
    answers.push(shown(await send(rig, { headers: ['Authorization', `Bearer ${token}`] })))
  }
  expect(new Set(answers).size).toBe(1)
  expect(answers[0]).toMatch(/^403\|.*unknown_placeholder/s)
  expect(rig.upstream.connections).toBe(0)
})
