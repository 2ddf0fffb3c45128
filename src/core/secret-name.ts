/**
 * What secrets are called: text for people, of which none can pass for another.
 *
 * A name is kept in Unicode's composed form (NFC). Its key is its compatibility form (NFKC), in which full-width letters, ligatures
 * and the like are what they stand for: two names with one key are one name to a scope, to policies and to whoever asks. Both are of
 * letters, marks, digits, punctuation and symbols that show, less what a URL, a pattern, a mount or a template reads as its own.
 *
 * Limit: letters of one script that look alike (`l` and `I`), and a segment that is all of another script, are told apart by nobody.
 */
import { CoatcheckError } from './errors.ts'
import { isUuid } from './id.ts'

export const MAX_NAME_LENGTH = 256
/** Composing never makes more than four code units into one character. */
const MAX_NAME_UNITS = 4 * MAX_NAME_LENGTH

/** A segment: blanks single and inside; no mark first, which would belong to the slash. The last are slashes and blanks by their looks. */
const REFUSED = String.raw`\p{Default_Ignorable_Code_Point}"$%*\/;<=>?@\[\\\]\`\{\|\}\u2044\u2215\u2571\u29f8\u2800\ufffc\ufffd`
const SHOWN = String.raw`[[\p{L}\p{M}\p{N}\p{P}\p{S}]--[${REFUSED}]]`
const SEGMENT = new RegExp(`^(?!\\p{M})${SHOWN}+(?: ${SHOWN}+)*$`, 'v')

/** Scripts with letters that look like those of another one here. */
const ALIKE = ['Latin', 'Greek', 'Cyrillic', 'Armenian', 'Cherokee', 'Coptic', 'Lisu'].map(
  (script) => new RegExp(`\\p{Script=${script}}`, 'u'),
)

/** The name in the form it is kept in. Throws `invalid_input`, without the name. */
export function checkSecretName(text: string): string {
  const name = text.length <= MAX_NAME_UNITS ? text.normalize('NFC') : ''
  const key = nameKeyOf(name)
  const segments = key.split('/')
  if (!isWritten(name) || !isWritten(key) || segments.length !== name.split('/').length) {
    throw invalid(
      'The name of the secret is not allowed.',
      'Use 1 to 256 letters, digits, single blanks inside and signs other than " $ % * ; < = > ? @ [ \\ ] ` { | }, with / between segments, such as stripe or prod/openai.',
    )
  }
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw invalid('The name of the secret has a segment "." or "..".', 'Write the path without them.')
  }
  if (segments.some(mixesAlike)) {
    throw invalid(
      'The name of the secret mixes letters of scripts that look alike.',
      'Within a segment use letters of only one of Latin, Greek, Cyrillic, Armenian, Cherokee, Coptic and Lisu.',
    )
  }
  if (!isUuid(key.toLowerCase())) return name
  throw invalid('The name has the form of an id.', 'Choose a name that is not a UUID.')
}

/** What a scope compares: of any text, also one that is no name. */
export function nameKeyOf(name: string): string {
  return name.normalize('NFKC')
}

/** Whether the text can be a segment of a name. */
export function isSegment(text: string): boolean {
  return SEGMENT.test(text)
}

/**
 * Names that a foreign contract can spell. `flat`: A-Z a-z 0-9 _ - beginning with a letter or _. `capitals`: the same without a-z.
 * `variable`: the same without -. `path`: segments of A-Z a-z 0-9 _ - parted by /.
 */
export type NameForm = 'flat' | 'capitals' | 'variable' | 'path'

export const NAME_FORMS: Readonly<Record<NameForm, RegExp>> = {
  flat: /^[A-Za-z_][A-Za-z0-9_-]*$/,
  capitals: /^[A-Z_][A-Z0-9_-]*$/,
  variable: /^[A-Za-z_][A-Za-z0-9_]*$/,
  path: /^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+)*$/,
}

function isWritten(name: string): boolean {
  return name.split('/').every(isSegment) && Array.from(name).length <= MAX_NAME_LENGTH
}

function mixesAlike(segment: string): boolean {
  return ALIKE.filter((script) => script.test(segment)).length > 1
}

function invalid(message: string, hint: string): CoatcheckError {
  return new CoatcheckError('invalid_input', message, hint)
}
