/** The rows that a create, a patch or a put make of a secret, once everything that was given is checked. */
import {
  checkPlacementsOf,
  checkTypeKept,
  checkValueOf,
  defaultPlacementsOf,
  mintPlaceholder,
} from '../core/aws-rules.ts'
import { CoatcheckError } from '../core/errors.ts'
import { normalizeHosts } from '../core/host-pattern.ts'
import { uuidv7 } from '../core/id.ts'
import { DEFAULT_MAX_OCCURRENCES } from '../core/occurrence-budget.ts'
import { formatPlacement, type Placement, parsePlacement } from '../core/placement.ts'
import type { Principal } from '../core/principal.ts'
import type { SecretType, SecretValue } from '../core/secret.ts'
import { checkSecretName, nameKeyOf } from '../core/secret-name.ts'
import {
  checkDescription,
  checkExpiry,
  checkExternalId,
  checkLabels,
  checkMaxAccessCount,
  checkMaxOccurrences,
  checkMetadata,
  checkPlacementCount,
  checkReadPolicy,
  checkRotationPolicy,
  checkType,
  checkValue,
  hintOf,
  refuseValueInText,
  rotationDueAt,
  secretWarnings,
  tightenReadPolicy,
} from '../core/secret-rules.ts'
import type { NewSecret, SecretPatch } from '../core/secret-store.ts'
import { type Moment, principalLabel } from './change.ts'
import type { SecretVersionRow } from './schema.ts'
import type { Sealer } from './seal.ts'
import { readHosts, readPlacements, readRotationPolicy, type ShownRow } from './secret-rows.ts'

/** What holds for secrets of one workspace. */
export interface SecretPolicy {
  /** Refuse secrets without hosts. */
  readonly requireHosts: boolean
  /** Placement texts of a secret that names none. */
  readonly defaultPlacements: readonly string[]
}

export interface Draft {
  readonly row: ShownRow
  readonly warnings: readonly string[]
}

interface DraftContext {
  readonly principal: Principal
  readonly policy: SecretPolicy
  readonly moment: Moment
  /** As `Database.latest`: an expiry must lie after it. */
  readonly latest: number
}

/** A secret that was not there. Throws `invalid_input`. */
export function draftNew(input: NewSecret, { principal, policy, moment, latest }: DraftContext): Draft {
  const name = checkSecretName(input.name)
  const type = checkType(input.type ?? 'generic')
  const placements = readPlacementTexts(input.placements ?? defaultPlacementsOf(type, policy.defaultPlacements))
  checkPlacementsOf(type, placements)
  checkValue(input.value, placements)
  checkValueOf(type, input.value)
  const { hosts, warnings } = checkHosts(input.hosts ?? null, policy)
  const rotation_policy = checkRotationPolicy(input.rotationPolicy ?? null)
  const row: ShownRow = {
    ...newcomer(principal, moment),
    name,
    name_key: nameKeyOf(name),
    ...mintPlaceholder(type, input.dress ?? ''),
    type,
    description: checkDescription(input.description ?? null),
    hosts: writeHosts(hosts),
    placements: JSON.stringify(placements.map(formatPlacement)),
    allow_plaintext: input.allowPlaintext === true ? 1 : 0,
    labels: JSON.stringify(checkLabels(input.labels ?? {})),
    hint: hintOf(input.value, type),
    expires_at: checkExpiry(input.expiresAt ?? null, latest),
    metadata: checkMetadata(input.metadata ?? {}),
    max_access_count: checkMaxAccessCount(input.maxAccessCount ?? null),
    external_id: checkExternalId(input.externalId ?? null),
    read_policy: checkReadPolicy(input.readPolicy ?? 'never'),
    count_uses: input.countUses === true ? 1 : 0,
    max_occurrences: checkMaxOccurrences(input.maxOccurrences ?? DEFAULT_MAX_OCCURRENCES),
    rotation_policy,
    rotate_at: rotationDueAt(readRotationPolicy(rotation_policy), moment.time),
  }
  refuseValueInText(input.value, [row.description, row.labels, row.metadata])
  return { row, warnings: [...warnings, ...secretWarnings(input.value, hosts)] }
}

/** What every new secret begins with, whatever was given. */
function newcomer(principal: Principal, { now, time }: Moment) {
  return {
    id: uuidv7(now),
    scope_id: principal.scopeId,
    current_version: 1,
    rotation_reminded: 0,
    created_by: principalLabel(principal),
    created_by_kind: principal.kind,
    created_by_id: principal.id,
    created_at: time,
    updated_at: time,
    last_used_at: null,
    idle_since: time,
    deleted_at: null,
    destroyed_at: null,
    access_count: 0,
    disabled_at: null,
    version_created_at: time,
  }
}

/**
 * What the patch makes of the secret; a deleted one becomes live. `current` gives the present value, for what depends on it.
 * Throws `invalid_input`, or `conflict` when the read policy would be loosened.
 */
export async function draftPatch(
  old: ShownRow,
  patch: SecretPatch,
  { policy, moment, latest }: DraftContext,
  current: () => Promise<SecretValue>,
): Promise<Draft> {
  const { value } = patch
  const { time } = moment
  const name = patch.name === undefined ? old.name : checkSecretName(patch.name)
  const type = patch.type === undefined ? (old.type as SecretType) : checkType(patch.type)
  checkTypeKept(old.type as SecretType, type)
  const placements = readPlacementTexts(patch.placements ?? readPlacements(old.placements))
  checkPlacementsOf(type, placements)
  if (value !== undefined) checkValueOf(type, value)
  // New placements must suit the value that is there already.
  if (value !== undefined || patch.placements !== undefined) checkValue(value ?? (await current()), placements)
  const { hosts, warnings } =
    patch.hosts === undefined ? { hosts: readHosts(old.hosts), warnings: [] } : checkHosts(patch.hosts, policy)
  const advised = value !== undefined || patch.hosts !== undefined ? secretWarnings(value ?? null, hosts) : []
  const rehint = value !== undefined || type !== old.type
  const row: ShownRow = {
    ...old,
    name,
    name_key: nameKeyOf(name),
    type,
    description: given(patch.description, old.description, checkDescription),
    hosts: writeHosts(hosts),
    placements: JSON.stringify(placements.map(formatPlacement)),
    allow_plaintext: (patch.allowPlaintext ?? old.allow_plaintext === 1) ? 1 : 0,
    labels: given(patch.labels, old.labels, (labels) => JSON.stringify(checkLabels(labels))),
    hint: rehint ? hintOf(value ?? (await current()), type) : old.hint,
    current_version: old.current_version + (value === undefined ? 0 : 1),
    expires_at: given(patch.expiresAt, old.expires_at, (expiresAt) => checkExpiry(expiresAt, latest)),
    metadata: given(patch.metadata, old.metadata, checkMetadata),
    max_access_count: given(patch.maxAccessCount, old.max_access_count, checkMaxAccessCount),
    external_id: given(patch.externalId, old.external_id, checkExternalId),
    read_policy: given(patch.readPolicy, old.read_policy, (wanted) => tightenReadPolicy(old.read_policy, wanted)),
    count_uses: (patch.countUses ?? old.count_uses === 1) ? 1 : 0,
    max_occurrences: given(patch.maxOccurrences, old.max_occurrences, checkMaxOccurrences),
    updated_at: time,
    deleted_at: null,
    ...(value === undefined ? {} : { access_count: 0, disabled_at: null, version_created_at: time }),
  }
  if (value !== undefined) refuseValueInText(value, [row.description, row.labels, row.metadata])
  return { row: { ...row, ...rotationOf(row, patch) }, warnings: [...warnings, ...advised] }
}

/** The sealed version that goes with the row. */
export function versionRow(row: ShownRow, value: SecretValue, sealer: Sealer, principal: Principal): SecretVersionRow {
  const context = { workspaceId: row.scope_id, secretId: row.id, version: row.current_version }
  const { ciphertext, wrappedKey, keyId } = sealer.seal(value, context)
  return {
    secret_id: row.id,
    version: row.current_version,
    ciphertext,
    wrapped_key: wrappedKey,
    key_id: keyId,
    ...versionColumns(row),
    access_count: 0,
    created_by: principalLabel(principal),
    created_at: row.version_created_at,
    disabled_at: null,
  }
}

/** What the secret's row repeats of its current version. */
export function versionColumns(row: ShownRow) {
  const { type, metadata, expires_at, max_access_count } = row
  return { type, metadata, expires_at, max_access_count }
}

function rotationOf(row: ShownRow, patch: SecretPatch) {
  if (patch.value === undefined && patch.rotationPolicy === undefined) return {}
  const rotation_policy = given(patch.rotationPolicy, row.rotation_policy, checkRotationPolicy)
  const rotate_at = rotationDueAt(readRotationPolicy(rotation_policy), row.version_created_at)
  return { rotation_policy, rotate_at, rotation_reminded: 0 }
}

/** The old when the patch says nothing. */
function given<G, T>(patched: G | undefined, old: T, check: (patched: G) => T): T {
  return patched === undefined ? old : check(patched)
}

function checkHosts(raw: readonly string[] | null, policy: SecretPolicy) {
  if (raw !== null) return normalizeHosts(raw)
  if (!policy.requireHosts) return { hosts: null, warnings: [] }
  throw new CoatcheckError('invalid_input', 'Secrets need hosts here.', 'Name the hosts that may get this secret.')
}

function writeHosts(hosts: readonly string[] | null): string | null {
  return hosts === null ? null : JSON.stringify(hosts)
}

function readPlacementTexts(texts: readonly string[]): readonly Placement[] {
  checkPlacementCount(texts.length)
  return texts.map(parsePlacement)
}
