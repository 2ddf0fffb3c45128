/** The API over HTTP. No answer at all is `unreachable`; redirects are not followed, so the token goes to one server. */
import { Agent, request } from 'undici'
import { Failure, usage } from './failure.ts'
import type { Headers, Transport, TransportAnswer } from './transport.ts'

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
    request: async (method, path, body, headers = {}) => {
      try {
        return await call(dispatcher, `${base}${path}`, { method, headers: { ...identity(token), ...headers }, body })
      } catch {
        throw new Failure(
          'unreachable',
          `Cannot reach the coatcheck server at ${base}.`,
          'Start it with coatcheck serve, or correct COATCHECK_URL.',
        )
      }
    },
    stream: async (path, headers, signal) => {
      const all = { ...identity(token), ...headers, accept: 'text/event-stream' }
      const answer = await request(`${base}${path}`, { dispatcher, headers: all, signal }).catch(() => null)
      if (answer?.statusCode === 200) return answer.body
      await answer?.body.dump()
      return null
    },
    // Not close(), which would wait for an answer that goes on.
    close: () => dispatcher.destroy(),
  }
}

function baseOf(url: string): string {
  const parsed = URL.parse(url)
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw usage('COATCHECK_URL is not an address.', 'Set it to something like http://127.0.0.1:8081.')
  }
  return `${parsed.origin}${parsed.pathname.replace(/\/$/, '')}`
}

function identity(token: string | undefined): Headers {
  return token === undefined ? {} : { authorization: `Bearer ${token}` }
}

interface Call {
  readonly method: string
  readonly headers: Headers
  readonly body: unknown
}

async function call(dispatcher: Agent, url: string, { method, headers, body }: Call): Promise<TransportAnswer> {
  const answer = await request(url, {
    dispatcher,
    method: method as 'GET',
    headers: {
      accept: 'application/json',
      ...headers,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const received = Object.entries(answer.headers).map(([name, value]) => [name, String(value)] as const)
  return { status: answer.statusCode, headers: Object.fromEntries(received), body: await answer.body.text() }
}
