/**
 * What `--mount` of `run` says, and that the secret it names is there: one that does not exist yet is asked for on the terminal
 * and stored. A mount named as AWS's own variables are asks for a credential pair.
 */
import type { SecretDocument } from '../api/contract/secrets.ts'
import { segment } from './command.ts'
import { Failure, usage } from './failure.ts'
import type { CliIo } from './io.ts'
import { note } from './output.ts'
import type { Session } from './session.ts'
import { askLine, readValue } from './value.ts'

export interface Mount {
  readonly env: string
  readonly secret: string
  /** Empty when the mount names none. */
  readonly hosts: readonly string[]
}

/** Names under which a sandbox gets both halves of a pair. */
const PAIR = new Set(['AWS', 'AWS_ACCESS_KEY_ID'])
/** Access key ids of temporary credentials, which have a session token, begin so. */
const TEMPORARY = 'ASIA'

/** `ENV=SECRET` or `ENV=SECRET@HOST,HOST`. */
export function parseMount(text: string): Mount {
  const match = /^([A-Za-z_][A-Za-z0-9_]*)=([^@]+)(?:@(.+))?$/.exec(text)
  if (match === null) {
    throw usage(
      'A mount is not written as ENV=SECRET or ENV=SECRET@HOST,HOST.',
      'For example: OPENAI_API_KEY=openai@api.openai.com',
    )
  }
  const [, env = '', secret = '', hosts] = match
  return { env, secret, hosts: hosts === undefined ? [] : hosts.split(',').map((host) => host.trim()) }
}

export async function ensureSecret(session: Session, mount: Mount, io: CliIo): Promise<void> {
  const known = await find(session, mount.secret)
  if (known !== null) {
    refuseOtherHosts(known, mount)
    return
  }
  const type = PAIR.has(mount.env) ? 'aws' : 'generic'
  requireAskable(mount, type, io)
  const value = type === 'aws' ? await askPair(mount, io) : await readValue(io, {}, prompt('Value of', mount))
  const body = { name: mount.secret, value, hosts: mount.hosts, type }
  const created = await session.call<SecretDocument>('POST', '/v1/secrets', body)
  for (const warning of created.warnings ?? []) await note(io, `warning: ${warning}`)
}

function requireAskable({ env, secret, hosts }: Mount, type: string, io: CliIo): void {
  if (hosts.length === 0) {
    throw usage(
      `There is no secret "${secret}" yet, and the mount does not say where it may go.`,
      `Name its hosts: --mount ${env}=${secret}@api.example.com`,
    )
  }
  if (io.stdin.isTTY === true) return
  const options = `${type === 'generic' ? '' : `--type ${type} `}--hosts ${hosts.join(',')} --value-stdin`
  throw usage(
    `There is no secret "${secret}" yet, and no terminal to ask for its value on.`,
    `Create it first: coatcheck secret create ${secret} ${options}`,
  )
}

/** The pair as it is stored. An access key id is no secret, and is shown as it is typed. */
async function askPair(mount: Mount, io: CliIo): Promise<string> {
  const id = (await askLine(io, `Access key id of ${mount.secret}: `)).trim()
  const parts = [id, await readValue(io, {}, prompt('Secret access key of', mount))]
  if (id.startsWith(TEMPORARY)) parts.push(await readValue(io, {}, prompt('Session token of', mount)))
  return parts.join(':')
}

const prompt = (what: string, { secret }: Mount) => `${what} ${secret} (stored once, not shown): `

async function find(session: Session, name: string): Promise<SecretDocument | null> {
  try {
    return await session.call<SecretDocument>('GET', `/v1/secrets/${segment(name)}`)
  } catch (error) {
    if (error instanceof Failure && error.document.error.code === 'not_found') return null
    throw error
  }
}

/** A mount never widens what a stored secret allows. */
function refuseOtherHosts(secret: SecretDocument, mount: Mount): void {
  const missing = mount.hosts.filter((host) => secret.hosts !== null && !secret.hosts.includes(host.toLowerCase()))
  if (missing.length === 0) return
  throw usage(
    `Secret "${secret.name}" exists and may not go to ${missing.join(', ')}.`,
    `Add it on purpose: coatcheck secret update ${secret.name} --hosts ${[...(secret.hosts ?? []), ...missing].join(',')}`,
  )
}
