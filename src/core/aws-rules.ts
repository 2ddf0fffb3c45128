/** What holds for secrets of type `aws` and for no other: their value, their one placement, and the variables of a mount. */
import { mintAwsPlaceholder, parseAwsCredentials, readAwsPlaceholder } from './aws-credentials.ts'
import { CoatcheckError } from './errors.ts'
import { mintToken, validateDress } from './placeholder.ts'
import type { Placement } from './placement.ts'
import { type SecretType, SecretValue } from './secret.ts'

const PLACEMENTS = ['aws-sigv4'] as const

/** The placement texts of a new secret that names none. */
export function defaultPlacementsOf(type: SecretType, usual: readonly string[]): readonly string[] {
  return type === 'aws' ? PLACEMENTS : usual
}

/** The dress is for all types but `aws`, whose placeholder has AWS's own format. Throws `invalid_input`. */
export function mintPlaceholder(
  type: SecretType,
  dress: string,
): { readonly placeholder: string; readonly token: string } {
  if (type !== 'aws') {
    const token = mintToken()
    return { placeholder: validateDress(dress) + token, token }
  }
  if (dress !== '') throw invalid('A placeholder of type aws has no dress.', 'Leave the dress out.')
  const placeholder = mintAwsPlaceholder()
  return { placeholder, token: placeholder.slice(0, placeholder.indexOf(':')) }
}

/** `aws` is said when the secret is made, because its placeholder never changes. Throws `invalid_input`. */
export function checkTypeKept(old: SecretType, type: SecretType): void {
  if (old === type || (old !== 'aws' && type !== 'aws')) return
  throw invalid('The type aws is neither taken on nor left.', 'Create another secret with --type aws.')
}

/** Whether type and placements belong together. Throws `invalid_input`. */
export function checkPlacementsOf(type: SecretType, placements: readonly Placement[]): void {
  const signs = (placement: Placement): boolean => placement.kind === 'aws-sigv4'
  if (type === 'aws' ? placements.every(signs) : !placements.some(signs)) return
  throw invalid(
    type === 'aws' ? 'A secret of type aws only signs requests.' : 'Only a secret of type aws signs requests.',
    'Use the placement aws-sigv4 for type aws, and for no other type.',
  )
}

/** Throws `invalid_input`. */
export function checkValueOf(type: SecretType, value: SecretValue): void {
  if (type === 'aws') parseAwsCredentials(value)
}

/**
 * The variables that a mount gives: the one it names; of a pair, with the mount's name as prefix (`AWS`, or
 * `AWS_ACCESS_KEY_ID`), `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. `AWS_SESSION_TOKEN` is given empty: the real one,
 * if there is one, is added when a request is signed, and one that the workload inherits must not go with this pair.
 */
export function variablesOf(env: string, placeholder: string): Readonly<Record<string, string>> {
  const pair = readAwsPlaceholder(placeholder)
  if (pair === null) return { [env]: placeholder }
  const prefix = env.replace(/_ACCESS_KEY_ID$/, '')
  return {
    [`${prefix}_ACCESS_KEY_ID`]: pair.accessKeyId,
    [`${prefix}_SECRET_ACCESS_KEY`]: pair.secretAccessKey,
    [`${prefix}_SESSION_TOKEN`]: '',
  }
}

/** The same variables with the real values, for the one caller that may have them: the session token only where there is one. */
export function valuesOf(
  env: string,
  placeholder: string,
  value: SecretValue,
): readonly (readonly [string, SecretValue])[] {
  const [idName, secretName, tokenName] = Object.keys(variablesOf(env, placeholder))
  if (idName === undefined || secretName === undefined || tokenName === undefined) return [[env, value]]
  const { accessKeyId, secretAccessKey, sessionToken } = parseAwsCredentials(value)
  const pair = [
    [idName, SecretValue.fromText(accessKeyId)],
    [secretName, secretAccessKey],
  ] as const
  return sessionToken === null ? pair : [...pair, [tokenName, sessionToken]]
}

/** Throws `invalid_input` when two mounts would give the same variable. */
export function checkVariables(mounts: readonly { readonly env_name: string; readonly placeholder: string }[]): void {
  const given = new Set<string>()
  for (const { env_name, placeholder } of mounts) {
    for (const variable of Object.keys(variablesOf(env_name, placeholder))) {
      if (given.has(variable)) {
        throw invalid(`Two mounts give the variable ${variable}.`, 'Mount the AWS pair under another prefix.')
      }
      given.add(variable)
    }
  }
}

function invalid(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('invalid_input', message, hint)
}
