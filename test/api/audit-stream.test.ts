/** Contract: a stream shows each event once, in order, goes on after the last one that was seen, and ends when it may no longer. */
import { request } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditEventDocument } from '../../src/api/contract/audit.ts'
import { ApiUnderTest, CANARY } from './support/api-under-test.ts'

interface Message {
  readonly id: string
  readonly event: string
  readonly data: AuditEventDocument
}

class Stream {
  readonly messages: Message[] = []
  /** How it ended, once it has. */
  readonly end: Promise<string>
  readonly status: number
  readonly #waiting: (() => void)[] = []

  private constructor(status: number, body: AsyncIterable<Buffer>) {
    this.status = status
    this.end = this.#read(body)
  }

  static async open(api: ApiUnderTest, headers: Record<string, string> = {}, query = ''): Promise<Stream> {
    const authorization = `Bearer ${api.adminToken}`
    const answer = await request(`${api.url}/v1/audit/events/stream${query}`, {
      headers: { authorization, ...headers },
      bodyTimeout: 0,
    })
    expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8')
    return new Stream(answer.statusCode, answer.body as AsyncIterable<Buffer>)
  }

  async until(count: number): Promise<readonly Message[]> {
    while (this.messages.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return this.messages
  }

  async #read(body: AsyncIterable<Buffer>): Promise<string> {
    let text = ''
    try {
      for await (const chunk of body) {
        text += chunk.toString()
        const whole = text.split('\n\n')
        text = whole.pop() ?? ''
        this.messages.push(...whole.flatMap(messageIn))
        for (const resolve of this.#waiting.splice(0)) resolve()
      }
      return `whole${text}`
    } catch {
      return 'cut'
    }
  }
}

function messageIn(text: string): Message[] {
  const fields = new Map(
    text.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
  )
  const data = fields.get('data')
  if (data === undefined) return []
  return [
    { id: fields.get('id') ?? '', event: fields.get('event') ?? '', data: JSON.parse(data) as AuditEventDocument },
  ]
}

let api: ApiUnderTest

beforeEach(async () => {
  api = await ApiUnderTest.start()
})
afterEach(async () => await api.stop())

const create = (name: string, headers?: Record<string, string>) =>
  api.call('POST', '/v1/secrets', { name, value: CANARY }, headers)
const names = (messages: readonly Message[]) => messages.map(({ data }) => data.target?.name)

describe('a stream', () => {
  it('begins now and shows what comes, each with its place', async () => {
    await create('before')
    const stream = await Stream.open(api)
    await create('a')
    await create('b')
    const messages = await stream.until(2)
    expect(names(messages)).toEqual(['a', 'b'])
    expect(messages[0]).toMatchObject({ event: 'change', data: { action: 'secret.create', kind: 'change' } })
    expect(new Set(messages.map(({ id }) => id)).size).toBe(2)
  })

  it('goes on after Last-Event-ID without a gap and without a repetition', async () => {
    const first = await Stream.open(api)
    for (const name of ['a', 'b', 'c']) await create(name)
    const [, second] = await first.until(3)
    await create('d')
    const again = await Stream.open(api, { 'last-event-id': second?.id ?? '' })
    expect(names(await again.until(2)).slice(0, 2)).toEqual(['c', 'd'])
  })

  it('shows what was asked for, and nothing of another workspace', async () => {
    const { json } = await api.call('POST', '/v1/workspaces', { name: 'other' })
    const stream = await Stream.open(api, {}, '?secret=wanted')
    await create('wanted', { 'coatcheck-scope': `workspace=${json.id}` })
    await create('unwanted')
    await create('wanted')
    expect((await stream.until(1)).map(({ data }) => data.workspace)).toEqual([api.data.database.defaultWorkspaceId])
  })

  it('ends when its token is revoked', async () => {
    const { json } = await api.call('POST', '/v1/tokens', { name: 'watcher', role: 'member' })
    const stream = await Stream.open(api, { authorization: `Bearer ${json.token}` })
    await api.call('DELETE', '/v1/tokens/watcher')
    expect(await stream.end).toBe('whole')
  })

  it('ends whole when the server stops, and keeps it from stopping no longer', async () => {
    const stopping = await ApiUnderTest.start()
    const stream = await Stream.open(stopping)
    await stopping.stop()
    expect(await stream.end).toBe('whole')
  })

  it('refuses a place that is not one', async () => {
    const answer = await api.call('GET', '/v1/audit/events/stream', undefined, { 'last-event-id': 'nonsense' })
    expect([answer.status, answer.json.error.code]).toEqual([400, 'invalid_input'])
  })
})

describe('checkpoints', () => {
  it('are listed newest first, signed', async () => {
    await create('a')
    await api.data.audit.close()
    const { json } = await api.call('GET', '/v1/audit/checkpoints?limit=1')
    expect(json.items[0]).toMatchObject({
      hash: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      seq: expect.any(Number) as number,
    })
    expect((await api.call('GET', '/v1/audit/verify')).json).toMatchObject({ ok: true })
  })
})
