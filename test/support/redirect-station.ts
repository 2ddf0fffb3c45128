/**
 * Runs in a network namespace whose rules redirect: a rig whose upstream has ports 443 and 80, and curl as another user,
 * which believes that it connects to an address that nobody has. Prints what came of it as JSON.
 *
 * Without arguments curl runs beside it. With `ADDRESS PID` the listeners are on that address, and curl runs in the network
 * namespace of that process, which has the address 172.30.99.10.
 */
import { spawn } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finish } from './client-sandbox.ts'
import { ALLOWED, Rig } from './rig.ts'

/** TEST-NET-3 (RFC 5737). */
const ELSEWHERE = '203.0.113.9'

const [address = '127.0.0.1', elsewhere] = process.argv.slice(2)
const identity =
  elsewhere === undefined
    ? { COATCHECK_TRANSPARENT_IDENTITY: 'sandbox:box' }
    : { COATCHECK_TRANSPARENT_SOURCES: '{"172.30.99.10": "box"}' }

const rig = await Rig.start({
  listenOn: { tls: 443, plain: 80 },
  env: {
    COATCHECK_TRANSPARENT_LISTENTLS: `${address}:8443`,
    COATCHECK_TRANSPARENT_LISTENHTTP: `${address}:8088`,
    ...identity,
  },
})

// Readable by the other user, as what tests make is not otherwise.
const folder = await mkdtemp(join(tmpdir(), 'coatcheck-redirect-'))
await chmod(folder, 0o755)
const ca = join(folder, 'ca.pem')
await writeFile(ca, rig.app.data.authority.certificatePem)

async function curl(url: string, ...more: readonly string[]): Promise<string> {
  const resolve = ['443', '80', '4443'].flatMap((port) => ['--resolve', `${ALLOWED}:${port}:${ELSEWHERE}`])
  const from = elsewhere === undefined ? [] : ['nsenter', `--net=/proc/${elsewhere}/ns/net`]
  const as = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', 'curl']
  const args = ['--silent', '--max-time', '10', '--noproxy', '*', '--cacert', ca, ...resolve, ...more, url]
  const child = spawn('env', [...from, ...as, ...args], { env: { PATH: process.env['PATH'] ?? '' } })
  child.stdin.end()
  const { code, stdout } = await finish(child)
  rig.seen.push(Buffer.from(stdout))
  return `${code} ${stdout}`.trim()
}

const report = {
  tls: await curl(`https://${ALLOWED}/tls`, '--header', `Authorization: Bearer ${rig.secret.placeholder}`),
  swapped: rig.upstream.requests.at(-1)?.headers.authorization === `Bearer ${rig.value}`,
  plain: await curl(`http://${ALLOWED}/plain`),
  path: rig.plain.requests.at(-1)?.target,
  otherPort: await curl(`https://${ALLOWED}:4443/`),
  ...(elsewhere !== undefined && { host: await curl(`http://${address}:8080/`, '--connect-timeout', '1') }),
}
await rm(folder, { recursive: true })
await rig.stop()
process.stdout.write(`${JSON.stringify(report)}\n`)
