/**
 * Contract: AWS's own S3 client puts, gets, lists, uploads streams and parts and presigns with a placeholder pair, and a
 * service that knows only the real pair finds every signature right. Right is what the package aws4 says, which is none of
 * ours. Both are installed by this test, outside the checkout.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SecretValue } from '../../src/core/secret.ts'
import { ClientSandbox } from '../support/client-sandbox.ts'
import { assertNoLeak, canary } from '../support/leak-check.ts'
import { ALLOWED, Rig } from '../support/rig.ts'
import { S3StandIn } from '../support/s3-stand-in.ts'

const PROGRAM = join(import.meta.dirname, 'programs', 's3.ts')
const PACKAGES = ['@aws-sdk/client-s3@3.1169.0', '@aws-sdk/s3-request-presigner@3.1162.0', 'aws4@1.13.2']
const run = promisify(execFile)

interface Aws4 {
  sign(
    request: object,
    credentials: object,
  ): { readonly headers: Readonly<Record<string, string>>; readonly path: string }
}
interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

let dir: string
let unreachable: string | null = null

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'coatcheck-s3-'))
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', dir]
  try {
    await run('npm', ['install', ...options, ...PACKAGES], { cwd: dir, timeout: 150_000 })
  } catch {
    unreachable = 'skipped: the npm registry cannot be reached'
  }
}, 180_000)
afterAll(async () => {
  await rm(dir, { recursive: true, force: true })
})

/** What is wrong with the signature of a request, for one who knows the real pair. */
function faultOf(aws4: Aws4, request: IncomingMessage, credentials: Credentials): string | null {
  const { method = '', url = '', headers } = request
  const query = new URLSearchParams(url.split('?')[1])
  const given = headers.authorization ?? `?SignedHeaders=${query.get('X-Amz-SignedHeaders') ?? ''},`
  const signed = (/SignedHeaders=([^,]*)/.exec(given)?.[1] ?? '').split(';')
  const fields = Object.fromEntries(signed.map((name) => [name, headers[name]]))
  const include = Object.fromEntries(signed.map((name) => [name, true]))
  const common = { method, host: headers.host, service: 's3', region: 'eu-central-1', headers: fields }
  const extra = { extraHeadersToInclude: include }
  if (headers.authorization === undefined) {
    const path = url.replace(/&X-Amz-Signature=[0-9a-f]+/, '')
    const expected = aws4.sign({ ...common, ...extra, path, signQuery: true }, credentials).path
    const signature = /X-Amz-Signature=([0-9a-f]+)/.exec(expected)?.[1]
    return signature === query.get('X-Amz-Signature') ? null : `presigned, not as expected: ${expected}`
  }
  const { headers: made } = aws4.sign({ ...common, ...extra, path: url }, credentials)
  return made['Authorization'] === headers.authorization ? null : `expected ${made['Authorization']}, got ${given}`
}

describe.each([
  ['long-lived', undefined],
  ['temporary, with a session token', 'token/+='.repeat(20)],
])('credentials that are %s', (_title, sessionToken) => {
  it('sign whatever the client does', async (context) => {
    context.skip(unreachable !== null, unreachable ?? '')
    const aws4 = createRequire(join(dir, 'test.cjs'))('aws4') as Aws4
    const rig = await Rig.start()
    const secretAccessKey = canary('s3').slice(0, 40)
    const credentials: Credentials = {
      accessKeyId: 'AKIAREALREALREALREAL',
      secretAccessKey,
      ...(sessionToken !== undefined && { sessionToken }),
    }
    const service = new S3StandIn((request) => faultOf(aws4, request, credentials))
    rig.upstream.answerWith(service.listener)
    const value = SecretValue.fromText(Object.values(credentials).join(':'))
    await rig.app.data.secrets.create(rig.principal, { name: 's3', type: 'aws', value, hosts: [ALLOWED] })
    const sandbox = await ClientSandbox.create(rig, { AWS: 's3' })
    const finished = await sandbox.run(process.execPath, [PROGRAM, dir, rig.url()])
    expect(service.faults).toEqual([])
    expect(finished, finished.stderr).toMatchObject({ code: 0 })
    const seen = JSON.parse(finished.stdout) as Readonly<Record<string, unknown>> & { readonly keys: readonly string[] }
    const bodies = seen.keys.map((key) => `body of ${key}`)
    expect(seen).toMatchObject({
      got: bodies,
      range: ['bytes 99998-100001/130000', 'sstt'],
      listed: seen.keys.filter((key) => key.startsWith('a')),
      multipart: 5 * 1024 * 1024 + 4,
      presigned: bodies.map((body) => `200 ${body}`),
    })
    expect(service.requests).toBeGreaterThanOrEqual(18)
    await sandbox.remove()
    const received = rig.upstream.received
    await rig.stop()
    assertNoLeak(secretAccessKey, {
      'what the sandbox saw': Buffer.concat(rig.seen),
      'the service': received.subarray(0, 1 << 20),
    })
  }, 60_000)
})
