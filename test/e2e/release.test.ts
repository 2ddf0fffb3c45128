/** The promise: a placeholder becomes the value at an allowed upstream, over verified TLS, and nowhere else. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OTHER, Rig } from '../support/rig.ts'
import { send } from '../support/sandbox-client.ts'

describe('a secret in a credential header', () => {
  let rig: Rig
  beforeEach(async () => {
    rig = await Rig.start()
  })
  afterEach(async () => {
    await rig.stop()
  })

  it('arrives as the value at the allowed host', async () => {
    const answer = await send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })
    expect(answer.status).toBe(200)
    expect(rig.upstream.last.headers.authorization).toBe(`Bearer ${rig.value}`)
    const events = await rig.events()
    expect(events.map((event) => event.kind)).toContain('release')
  })

  it('is refused for another host, before anything is dialled', async () => {
    const answer = await send(rig, { host: OTHER, headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })
    expect(answer.status).toBe(403)
    expect(answer.error?.code).toBe('host_not_allowed')
    expect(rig.upstream.connections).toBe(0)
  })
})
