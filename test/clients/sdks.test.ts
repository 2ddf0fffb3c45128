/**
 * Contract: the real clients of OpenAI and Anthropic, and EventSource, work with exactly a sandbox's environment, the placeholder being
 * their key: the upstream gets the value, answers and streams arrive at once, and what repeats the value arrives masked. They are installed
 * by this test, outside the checkout.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ClientSandbox } from '../support/client-sandbox.ts'
import { Rig } from '../support/rig.ts'

const PROGRAM = join(import.meta.dirname, 'programs', 'sdks.ts')
const PACKAGES = [
  'openai@7.55.0',
  '@anthropic-ai/sdk@1.11.0',
  'anthropic-0@npm:@anthropic-ai/sdk@0.137.0',
  'eventsource@5.1.5',
]
const run = promisify(execFile)

interface Given {
  readonly answer: string | null
  readonly streamed: readonly string[]
}

let dir: string
let unreachable: string | null = null
let rig: Rig
let sandbox: ClientSandbox

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'coatcheck-sdks-'))
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', dir]
  try {
    await run('npm', ['install', ...options, ...PACKAGES], { cwd: dir, timeout: 30_000 })
  } catch {
    unreachable = 'skipped: the npm registry cannot be reached'
  }
  rig = await Rig.start()
  sandbox = await ClientSandbox.create(rig, {
    API_KEY: 'openai',
    OPENAI_API_KEY: 'openai',
    ANTHROPIC_API_KEY: 'openai',
  })
}, 60_000)

beforeEach((context) => {
  context.skip(unreachable !== null, unreachable ?? '')
  rig.upstream.clear()
  rig.upstream.answerWith(new Provider().answer)
})

afterAll(async () => {
  await sandbox.remove()
  await rig.stop()
  await rm(dir, { recursive: true, force: true })
})

/** Answers as the providers do, with the key it got in each answer; a stream goes on once the client has its first piece. */
class Provider {
  #goOn: () => void = () => undefined

  readonly answer: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.once('end', () => {
      const body = Buffer.concat(chunks).toString()
      void this.#answer(request, response, body.includes('"stream":true'))
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse, streams: boolean): Promise<void> {
    const key = String(request.headers['x-api-key'] ?? request.headers.authorization)
    switch (request.url) {
      case '/go-on':
        response.end('ok')
        this.#goOn()
        return
      case '/events':
        return await this.#events(request, response, key)
      default: {
        const shape = request.url === '/v1/messages' ? anthropicShape : openaiShape
        if (streams) return await this.#stream(response, shape.events([`first ${key}`, 'second']))
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(shape.whole(`You sent ${key}`)))
      }
    }
  }

  async #stream(response: ServerResponse, events: { readonly first: string; readonly rest: string }): Promise<void> {
    response.setHeader('content-type', 'text/event-stream')
    const seen = new Promise<void>((resolve) => {
      this.#goOn = resolve
    })
    response.write(events.first)
    await seen
    response.end(events.rest)
  }

  async #events(request: IncomingMessage, response: ServerResponse, key: string): Promise<void> {
    const last = request.headers['last-event-id']
    const first =
      last === undefined ? `retry: 10\nid: 7\ndata: first ${key}\n\n` : `data: after ${String(last)} ${key}\n\n`
    await this.#stream(response, { first, rest: '' })
  }
}

const openaiShape = {
  whole: (content: string) => ({
    id: 'c',
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  }),
  events([first, second]: readonly [string, string]) {
    const event = (content: string) =>
      `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content } }] })}\n\n`
    return { first: event(first), rest: `${event(second)}data: [DONE]\n\n` }
  },
}

const anthropicShape = {
  whole: (text: string) => ({ id: 'm', type: 'message', role: 'assistant', content: [{ type: 'text', text }] }),
  events([first, second]: readonly [string, string]) {
    const event = (type: string, more: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`
    const delta = (text: string) => event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
    return { first: delta(first), rest: `${delta(second)}${event('message_stop', {})}` }
  },
}

async function givenTo(client: string): Promise<Given> {
  const finished = await sandbox.run(process.execPath, [PROGRAM, dir, client, rig.url()])
  expect(finished).toMatchObject({ code: 0, stderr: '' })
  expect(finished.stdout).not.toContain(rig.value)
  return JSON.parse(finished.stdout) as Given
}

/** Of what the upstream got, the credentials of all requests but those that only say that a piece arrived. */
function keysReceived(field: 'authorization' | 'x-api-key') {
  return rig.upstream.requests.filter(({ target }) => target !== '/go-on').map(({ headers }) => headers[field])
}

describe('the clients of model providers', () => {
  it('openai completes a chat, and streams one piece by piece', async () => {
    const given = await givenTo('openai')
    const bearer = `Bearer ${sandbox.placeholder}`
    expect(given).toEqual({ answer: `You sent ${bearer}`, streamed: [`first ${bearer}`, 'second'] })
    expect(keysReceived('authorization')).toEqual([`Bearer ${rig.value}`, `Bearer ${rig.value}`])
  })

  it.each([
    ['@anthropic-ai/sdk 1, which sends it as a bearer token', 'anthropic', 'authorization', 'Bearer '],
    ['@anthropic-ai/sdk 0, which sends it in x-api-key', 'anthropic-0', 'x-api-key', ''],
  ] as const)('%s, creates a message, and streams one piece by piece', async (_title, client, field, scheme) => {
    const given = await givenTo(client)
    const key = `${scheme}${sandbox.placeholder}`
    expect(given).toEqual({ answer: `You sent ${key}`, streamed: [`first ${key}`, 'second'] })
    expect(keysReceived(field)).toEqual([`${scheme}${rig.value}`, `${scheme}${rig.value}`])
  })

  it('eventsource gets each event at once, and comes back with the id of the last and the key', async () => {
    const given = await givenTo('eventsource')
    const bearer = `Bearer ${sandbox.placeholder}`
    expect(given.streamed).toEqual([`first ${bearer}`, `after 7 ${bearer}`])
    expect(keysReceived('authorization')).toEqual([`Bearer ${rig.value}`, `Bearer ${rig.value}`])
  })
})
