/**
 * Runs in a namespace whose only name server takes questions and never answers: one sandbox asks for hundreds of names, and
 * another one works. Prints what came of it as JSON.
 */
import dgram from 'node:dgram'
import { once } from 'node:events'
import { Rig, type RigSandbox } from './rig.ts'
import { openProxy, proxyAuthorization, send } from './sandbox-client.ts'
import { until } from './until.ts'

const NAMES = 300
const EXCHANGES = 50

const asked = new Set<string>()
const mute = dgram.createSocket('udp4')
mute.on('message', (message) => asked.add(/dead-\d+/.exec(message.toString('latin1'))?.[0] ?? 'another'))
mute.bind(53, '127.0.0.1')
await once(mute, 'listening')

const rig = await Rig.start()
const noisy = await rig.sandboxWith('noisy', {})
const refusals: number[] = []

/** In absolute form, so that no certificate is made for it. */
async function askFor(name: string, sandbox: RigSandbox): Promise<void> {
  const wire = await openProxy(rig)
  const [field, value] = proxyAuthorization(sandbox)
  wire.write(`GET http://${name}/ HTTP/1.1\r\nHost: ${name}\r\n${field}: ${value}\r\n\r\n`)
  refusals.push((await wire.message()).status)
  wire.socket.destroy()
}

async function work(): Promise<number> {
  let done = 0
  for (let i = 0; i < EXCHANGES; i += 1) {
    const { status } = await send(rig, { headers: ['Authorization', `Bearer ${rig.secret.placeholder}`] })
    if (status === 200) done += 1
  }
  return done
}

for (let i = 0; i < NAMES; i += 1) void askFor(`dead-${i}.example`, noisy).catch(() => undefined)
await until(() => asked.size >= NAMES)
const done = await work()
// The system's resolver has them now, and has the threads that files and cryptography share.
await until(() => refusals.length > 0)
const doneLater = await work()
const stillWaiting = refusals.length < NAMES
const values = rig.upstream.requests.filter(({ headers }) => headers.authorization === `Bearer ${rig.value}`).length
process.stdout.write(`${JSON.stringify({ done, doneLater, stillWaiting, values, statuses: [...new Set(refusals)] })}\n`)
// Look-ups by the system cannot be broken off.
process.exit(0)
