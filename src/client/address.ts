/** What a request is addressed to: the server, a path made of segments, a query, and the scope it acts in. */
import { misused } from './error.ts'

/** Where calls act: the whole account, or a workspace, a vault, or a vault of a workspace, each by id, name or external key. */
export type ActingScope = 'account' | { readonly workspace?: string; readonly vault?: string }

export type QueryValue = string | number | boolean | Readonly<Record<string, string>> | undefined
export type Query = Readonly<Record<string, QueryValue>>

/** Origin and path of the server, without a trailing slash. Throws `usage`, without repeating what was given. */
export function serverAddress(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw misused('url is not the address of a server.', 'Give something like https://coatcheck.example.com.')
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw misused('url holds credentials.', 'Give the token as token.')
  }
  return `${parsed.origin}${parsed.pathname.replace(/\/+$/, '')}`
}

/** `path('/v1/secrets', name, 'value')`: every segment percent-encoded. */
export function path(collection: string, ...segments: readonly (string | number)[]): string {
  return [collection, ...segments.map((segment) => encoded(String(segment)))].join('/')
}

/** With its `?`, or empty. Maps become `key=value,key=value`. */
export function queryText(query: Query): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, typeof value === 'object' ? pairs(value) : String(value))
  }
  const text = parameters.toString()
  return text === '' ? '' : `?${text}`
}

/** As the header `coatcheck-scope` says it; undefined = where the token is. */
export function scopeText(scope: ActingScope | undefined): string | undefined {
  if (scope === undefined || scope === 'account') return scope
  const parts = (['workspace', 'vault'] as const).flatMap((level) => {
    const ref = scope[level]
    return ref === undefined ? [] : [`${level}=${encodeURIComponent(ref)}`]
  })
  if (parts.length > 0) return parts.join('; ')
  throw misused('scope names neither a workspace nor a vault.', "Give 'account', { workspace }, { vault } or both.")
}

/** `.` and `..` would be resolved away by whoever parses the URL. */
function encoded(segment: string): string {
  if (/^\.{0,2}$/.test(segment)) throw misused('This is not a name or an id.', 'Give the name or id that list shows.')
  return encodeURIComponent(segment)
}

function pairs(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .map((pair) => pair.join('='))
    .join(',')
}
