/**
 * What an update of a Cadenya secret changes: the paths of its mask, and without one whatever is there. A path of the mask whose field
 * is not there clears it; names and values are never cleared.
 */
import type { Static } from 'typebox'
import { CoatcheckError } from '../../core/errors.ts'
import { SecretValue } from '../../core/secret.ts'
import type { SecretPatch } from '../../core/secret-store.ts'
import type { UpdateBody } from './cadenya-shapes.ts'

type Body = Static<typeof UpdateBody>

const PATHS = {
  'metadata.name': (body: Body): SecretPatch => ({ name: required(body.metadata?.name).toUpperCase() }),
  'metadata.externalId': (body: Body): SecretPatch => ({ externalId: body.metadata?.externalId || null }),
  'metadata.labels': (body: Body): SecretPatch => ({ labels: body.metadata?.labels ?? {} }),
  'spec.value': (body: Body): SecretPatch => ({ value: SecretValue.fromText(required(body.spec?.value)) }),
} as const
type Path = keyof typeof PATHS

/** Throws `invalid_input` for a path that is not known. */
export function patchFrom(body: Body): SecretPatch {
  const paths = body.updateMask ? body.updateMask.split(',').map((path) => pathFrom(path.trim())) : present(body)
  return Object.assign({}, ...paths.map((path) => PATHS[path](body))) as SecretPatch
}

function pathFrom(path: string): Path {
  if (Object.hasOwn(PATHS, path)) return path as Path
  throw new CoatcheckError(
    'invalid_input',
    'updateMask has a path that is not known.',
    `Known paths are ${Object.keys(PATHS).join(', ')}.`,
  )
}

function present({ metadata, spec }: Body): readonly Path[] {
  const paths: Path[] = []
  if (metadata?.name !== undefined) paths.push('metadata.name')
  if (metadata?.externalId !== undefined) paths.push('metadata.externalId')
  if (metadata?.labels !== undefined) paths.push('metadata.labels')
  if (spec?.value !== undefined) paths.push('spec.value')
  return paths
}

function required(text: string | undefined): string {
  if (text !== undefined) return text
  throw new CoatcheckError(
    'invalid_input',
    'updateMask names a field that is not there and cannot be cleared.',
    'Send metadata.name and spec.value along when the mask names them.',
  )
}
