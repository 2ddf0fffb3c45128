/** The API over HTTP. No answer at all is `unreachable`; redirects are not followed, so the token goes to one server. */
import { Agent, request } from 'undici'
import { Failure, usage } from './failure.ts'
import type { Transport, TransportAnswer } from './transport.ts'

const TIMEOUT_MS = 30_000

/** `url` is the server's address, `token` an API token. Throws `usage` when the address is none. */
export function httpTransport(url: string, token: string | undefined): Transport {
  const base = baseOf(url)
  // Own agent: a proxy set for sandboxes in this environment is not for the control plane.
  const dispatcher = new Agent({
    connect: { timeout: TIMEOUT_MS },
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  })
  return {
    request: async (method, path, body) => {
      try {
        return await call(dispatcher, `${base}${path}`, method, token, body)
      } catch {
        throw new Failure(
          'unreachable',
          `Cannot reach the coatcheck server at ${base}.`,
          'Start it with coatcheck serve, or correct COATCHECK_URL.',
        )
      }
    },
    close: () => dispatcher.close(),
  }
}

function baseOf(url: string): string {
  const parsed = URL.parse(url)
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw usage('COATCHECK_URL is not an address.', 'Set it to something like http://127.0.0.1:8081.')
  }
  return `${parsed.origin}${parsed.pathname.replace(/\/$/, '')}`
}

async function call(
  dispatcher: Agent,
  url: string,
  method: string,
  token: string | undefined,
  body: unknown,
): Promise<TransportAnswer> {
  const answer = await request(url, {
    dispatcher,
    method: method as 'GET',
    headers: {
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const headers = Object.entries(answer.headers).map(([name, value]) => [name, String(value)] as const)
  return { status: answer.statusCode, headers: Object.fromEntries(headers), body: await answer.body.text() }
}
