/**
 * Contract: a connection to an upstream belongs to one workspace, scheme, host and port, and is not taken for another even
 * where both lead to the same address, the same port and a certificate that covers both names.
 */
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { DialCounter } from '../support/dial-counter.ts'
import { assertNoLeak, canary } from '../support/leak-check.ts'
import { RawSandbox } from '../support/raw-sandbox.ts'
import { verdict } from '../support/refusal.ts'
import { Rig } from '../support/rig.ts'
import { SecondWorkspace } from '../support/second-workspace.ts'

const THEIRS = canary('theirs')

let rig: Rig
let box: RawSandbox
let other: SecondWorkspace
let dials: DialCounter
/** For each request in order: who it was for and which connection it came on. */
let arrivals: { readonly host: string; readonly servername: string; readonly connection: number | undefined }[]

beforeAll(async () => {
  rig = await Rig.start()
  box = new RawSandbox(rig)
  other = await SecondWorkspace.create(rig, THEIRS)
  dials = new DialCounter(rig.upstream.server)
  rig.upstream.server.on('request', (request: { headers: { host: string }; socket: TLSSocket }) => {
    const { servername, remotePort } = request.socket as TLSSocket & { servername: string }
    arrivals.push({ host: request.headers.host.replace(/:.*/, ''), servername, connection: remotePort })
  })
})
beforeEach(() => {
  rig.upstream.clear()
  dials.reset()
  arrivals = []
})
afterAll(async () => {
  assertNoLeak(THEIRS, { 'what sandboxes saw': Buffer.concat(rig.seen), 'the log': rig.logLines.join('') })
  await rig.stop()
})

const ask = (who: RawSandbox, host: string, ...fields: readonly string[]) =>
  who.askInTunnel(host, ['GET / HTTP/1.1', `Host: ${host}:${rig.upstream.port}`, ...fields])

const connections = () => new Set(arrivals.map((each) => each.connection)).size

it('A30 a connection that is warm is used again for the same workspace and host', async () => {
  for (let i = 0; i < 3; i++) expect((await ask(box, 'api.test')).status).toBe(200)
  expect([arrivals.length, connections(), dials.count]).toEqual([3, 1, 1])
})

it('A30 a connection kept for evil.test is not used for the allowed host at the same address and port', async () => {
  expect((await ask(box, 'evil.test')).status).toBe(200)
  expect((await ask(box, 'api.test', box.authorization)).status).toBe(200)
  expect((await ask(box, 'evil.test')).status).toBe(200)
  expect(arrivals.map((each) => [each.host, each.servername])).toEqual([
    ['evil.test', 'evil.test'],
    ['api.test', 'api.test'],
    ['evil.test', 'evil.test'],
  ])
  expect([connections(), dials.count]).toEqual([2, 2])
  expect(rig.upstream.requests.map((request) => request.headers.authorization)).toEqual([
    undefined,
    `Bearer ${rig.value}`,
    undefined,
  ])
})

it('A30 two spellings of one host are one host, and share a connection', async () => {
  expect((await ask(box, 'api.test')).status).toBe(200)
  expect((await ask(box, 'API.test.')).status).toBe(200)
  expect(connections()).toBe(1)
})

it('A30 two workspaces never share a connection, and neither has the other one’s placeholder', async () => {
  const theirs = new RawSandbox(rig, other.sandbox)
  expect((await ask(box, 'api.test', box.authorization)).status).toBe(200)
  expect((await ask(theirs, 'api.test', `Authorization: Bearer ${other.placeholder}`)).status).toBe(200)
  expect(rig.upstream.requests.map((request) => request.headers.authorization)).toEqual([
    `Bearer ${rig.value}`,
    `Bearer ${THEIRS}`,
  ])
  expect([connections(), dials.count]).toEqual([2, 2])
  const foreign = await ask(theirs, 'api.test', box.authorization)
  expect(verdict(foreign)).toEqual([403, 'unknown_placeholder'])
  expect(rig.upstream.requests).toHaveLength(2)
})

it('A30 two sandboxes of one workspace may share a connection, as design.md has it', async () => {
  const neighbour = new RawSandbox(rig, await rig.sandboxWith('neighbour', {}))
  expect((await ask(box, 'api.test')).status).toBe(200)
  expect((await ask(neighbour, 'api.test')).status).toBe(200)
  expect(connections()).toBe(1)
})
