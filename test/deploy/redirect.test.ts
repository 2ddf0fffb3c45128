/**
 * deploy/redirect does what it says: with its rules loaded, connections to anywhere arrive at coatcheck, and no others
 * leave. Machines without the programs that load the files get the same redirection by the kernel's own interface.
 */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { bare, finish, lacks } from '../support/client-sandbox.ts'

const CHECKOUT = join(import.meta.dirname, '../..')
const rules = (name: string) => join(CHECKOUT, 'deploy/redirect', name)

/** An interface with a way to everywhere, so that there is something to redirect. */
const NETWORK = [
  'ip link set lo up',
  'ip link add out type veth peer name away',
  'ip address add 192.0.2.1/24 dev out',
  'ip link set out up',
  'ip link set away up',
  'ip route add default via 192.0.2.254 dev out',
]

/** Whether this kernel has the table and the target. */
function lacksRedirect(): string | null {
  try {
    if (readFileSync('/proc/net/ip_tables_targets', 'utf8').split('\n').includes('REDIRECT')) return null
  } catch {
    // Not Linux, or without iptables.
  }
  return 'this kernel shows no REDIRECT'
}

/** A host with a bridge, behind which another namespace is the sandbox; `$sandbox` is a process in it. */
const BRIDGE = [
  'ip link add br-sandbox type bridge',
  'ip address add 172.30.99.1/24 dev br-sandbox',
  'ip link set br-sandbox up',
  'unshare --net sleep 60 & sandbox=$!',
  'trap "kill $sandbox" EXIT',
  'until [ "$(readlink /proc/$sandbox/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done',
  'ip link add port type veth peer name eth0 netns $sandbox',
  'ip link set port master br-sandbox up',
  'inside() { nsenter --net=/proc/$sandbox/ns/net "$@"; }',
  'inside ip link set lo up',
  'inside ip address add 172.30.99.10/24 dev eth0',
  'inside ip link set eth0 up',
  'inside ip route add default via 172.30.99.1',
]

/** Why a new namespace of this machine cannot be used so; null when it can. */
function forbids(attempt: string): string | null {
  const { status } = spawnSync('unshare', ['--net', 'sh', '-c', attempt], { stdio: 'ignore' })
  return status === 0 ? null : `not permitted here: ${attempt}`
}

const root = process.getuid?.() === 0 ? null : 'only root may make a network namespace'
const common =
  root ??
  ['unshare', 'ip', 'setpriv', 'curl'].map(lacks).find((reason) => reason !== null) ??
  forbids('ip link add out type veth peer name away')
const STATION = `${process.execPath} ${join(CHECKOUT, 'test/support/redirect-station.ts')}`
const REDIRECTED = {
  tls: '0 ok',
  swapped: true,
  plain: '0 ok',
  path: '/plain',
  // Could not connect: it was refused on the spot.
  otherPort: '7',
}

/** What the station printed in a namespace of its own. */
async function redirectedIn(script: readonly string[]): Promise<unknown> {
  const child = spawn('unshare', ['--net', 'sh', '-c', ['set -e', ...script].join('\n')], { env: bare('/nonexistent') })
  const { stdout, stderr } = await finish(child)
  expect(stdout, stderr).toMatch(/^\{.*\}\n$/)
  return JSON.parse(stdout) as unknown
}

const LOADERS = [
  {
    name: 'sidecar.nft',
    missing: common ?? lacks('nft') ?? forbids('nft add table inet probe'),
    load: [`nft -f ${rules('sidecar.nft')}`],
  },
  {
    name: 'sidecar.iptables and sidecar.ip6tables',
    missing: common ?? lacks('iptables-restore') ?? forbids('iptables -t nat -N PROBE'),
    load: [
      `iptables-restore --noflush < ${rules('sidecar.iptables')}`,
      `ip6tables-restore --noflush < ${rules('sidecar.ip6tables')}`,
    ],
  },
  {
    name: 'the rules of sidecar.iptables, without iptables',
    missing: common ?? lacks('python3') ?? lacksRedirect(),
    load: [`python3 ${join(CHECKOUT, 'test/support/redirect-rules.py')} 1000 443:8443 80:8088`],
  },
]

for (const { name, missing, load } of LOADERS) {
  describe.skipIf(missing !== null)(missing === null ? name : `${name} (skipped: ${missing})`, () => {
    it('sends what another user connects to, anywhere, to coatcheck and nothing further', async () => {
      expect(await redirectedIn([...NETWORK, ...load, STATION])).toEqual(REDIRECTED)
    })
  })
}

const toBridge =
  common ??
  lacks('nft') ??
  lacks('nsenter') ??
  forbids('nft add table inet probe && ip link add probe type bridge && echo 1 > /proc/sys/net/ipv4/ip_forward')
describe.skipIf(toBridge !== null)(toBridge === null ? 'bridge.nft' : `bridge.nft (skipped: ${toBridge})`, () => {
  it('sends what a sandbox behind the bridge connects to, anywhere, to coatcheck, and nothing through or into the host', async () => {
    const forwarding = 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    const script = [
      ...NETWORK,
      ...BRIDGE,
      forwarding,
      `nft -f ${rules('bridge.nft')}`,
      `${STATION} 172.30.99.1 $sandbox`,
    ]
    // Timed out: the host does not answer at all.
    expect(await redirectedIn(script)).toEqual({ ...REDIRECTED, host: '28' })
  })
})

describe('the scripts', () => {
  it('agree with the settings that the README gives, and exempt the user of the image', () => {
    const [nft, iptables, readme] = ['sidecar.nft', 'sidecar.iptables', 'README.md'].map((name) =>
      readFileSync(rules(name), 'utf8'),
    ) as [string, string, string]
    for (const port of ['8443', '8088']) {
      expect(readme).toContain(`127.0.0.1:${port}`)
      expect(nft).toContain(`= ${port}\n`)
      expect(iptables).toContain(`--to-ports ${port}\n`)
    }
    const [, uid] = /^USER (?:node|(\d+))/m.exec(readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8')) ?? []
    expect(nft).toContain(`coatcheck_uid = ${uid ?? 1000}`)
    expect(iptables).toContain(`--uid-owner ${uid ?? 1000} `)
  })
})
