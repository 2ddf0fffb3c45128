/** Calls to a rig's API over HTTP, as its administrator. What comes back is what any caller of the API can see. */
import { readFile } from 'node:fs/promises'
import type { Secret } from '../../src/core/secret.ts'
import type { Rig } from './rig.ts'

export interface ApiAnswer {
  readonly status: number
  readonly text: string
  readonly document: Readonly<Record<string, unknown>> & {
    readonly error?: { readonly code: string; readonly message: string; readonly hint: string }
  }
}

export async function callApi(rig: Rig, method: string, path: string, body?: object): Promise<ApiAnswer> {
  const token = (await readFile(rig.app.data.adminToken.path, 'utf8')).trim()
  const response = await fetch(`${rig.app.apiUrl}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.includes('json') === true
  return { status: response.status, text, document: (isJson ? JSON.parse(text) : {}) as ApiAnswer['document'] }
}

/** A secret that must be accepted. */
export async function createSecret(
  rig: Rig,
  input: { readonly name: string; readonly value: string; readonly hosts?: readonly string[] } & object,
): Promise<Secret & { readonly warnings?: readonly string[] }> {
  const { status, document } = await callApi(rig, 'POST', '/v1/secrets', input)
  if (status !== 201) throw new Error(`creating the secret was answered ${status}: ${document.error?.message}`)
  return document as unknown as Secret
}
