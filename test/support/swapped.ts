/** What every client must show: the value arrived, the program ended well, and it saw the placeholder and nothing else. */
import { expect } from 'vitest'
import type { ClientSandbox, Finished } from './client-sandbox.ts'
import type { Rig } from './rig.ts'

/** The upstream echoed its headers; `Authorization: Bearer` was sent. */
export function expectBearerSwapped(rig: Rig, sandbox: ClientSandbox, finished: Finished): void {
  expect(finished, finished.stderr).toMatchObject({ code: 0 })
  expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
  expect(finished.stdout).toContain(`Bearer ${sandbox.placeholder}`)
  expect(finished.stdout).not.toContain(rig.value)
}

/** A user and the placeholder as password, encoded together by the client. */
export function expectBasicSwapped(rig: Rig, finished: Finished, user = 'user'): void {
  expect(finished, finished.stderr).toMatchObject({ code: 0 })
  expect(rig.upstream.last.headers.authorization).toBe(basic(user, rig.value))
  expect(finished.stdout + finished.stderr).not.toContain(basic(user, rig.value))
}

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}
