/**
 * What a program does with the clients of model providers, as their documentation shows it: DIR CLIENT UPSTREAM. The key comes from the
 * environment. Prints one JSON document of what it was given. After the first streamed piece it tells the upstream, which waits for that.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [dir = '', client = '', upstream = ''] = process.argv.slice(2)
/** Of an EventSource that will not come back. */
const CLOSED = 2
const QUESTION = { model: 'model-1', messages: [{ role: 'user', content: 'What did I send?' }] }

interface Create<Answer, Piece> {
  create(input: object & { readonly stream: true }): Promise<AsyncIterable<Piece>>
  create(input: object): Promise<Answer>
}
interface Choice<Field extends string> {
  readonly choices: readonly Readonly<Record<Field, { readonly content: string }>>[]
}
interface OpenAI {
  readonly chat: { readonly completions: Create<Choice<'message'>, Choice<'delta'>> }
}
interface Anthropic {
  readonly messages: Create<{ readonly content: readonly { readonly text: string }[] }, AnthropicPiece>
}
interface AnthropicPiece {
  readonly type: string
  readonly delta?: { readonly text: string }
}
interface Source extends EventTarget {
  readonly readyState: number
  close(): void
}
type Options = Readonly<Record<string, unknown>>

async function load(name: string): Promise<Record<string, unknown>> {
  const file = createRequire(join(dir, 'package.json')).resolve(name)
  return (await import(pathToFileURL(file).href)) as Record<string, unknown>
}

async function construct<T>(name: string, exported: string, ...args: readonly unknown[]): Promise<T> {
  const constructor = (await load(name))[exported] as new (...args: readonly unknown[]) => T
  return new constructor(...args)
}

/** Every piece, the upstream told of the first. */
async function collect<Piece>(pieces: AsyncIterable<Piece>, textOf: (piece: Piece) => string): Promise<string[]> {
  const texts: string[] = []
  for await (const piece of pieces) {
    const text = textOf(piece)
    if (text === '') continue
    if (texts.push(text) === 1) await fetch(`${upstream}/go-on`)
  }
  return texts
}

async function openai(): Promise<unknown> {
  const options: Options = { baseURL: `${upstream}/v1`, maxRetries: 0 }
  const { completions } = (await construct<OpenAI>('openai', 'OpenAI', options)).chat
  const answer = await completions.create(QUESTION)
  const stream = await completions.create({ ...QUESTION, stream: true as const })
  const streamed = await collect(stream, ({ choices }) => choices[0]?.delta.content ?? '')
  return { answer: answer.choices[0]?.message.content, streamed }
}

async function anthropic(name: string): Promise<unknown> {
  const options: Options = { baseURL: upstream, maxRetries: 0 }
  const { messages } = await construct<Anthropic>(name, 'Anthropic', options)
  const question = { ...QUESTION, max_tokens: 100 }
  const answer = await messages.create(question)
  const stream = await messages.create({ ...question, stream: true as const })
  const streamed = await collect(stream, ({ delta }) => delta?.text ?? '')
  return { answer: answer.content[0]?.text, streamed }
}

/** Two events, for the second of which the client comes back by itself. */
async function eventsource(): Promise<unknown> {
  const authorized = (url: string, init: RequestInit) => {
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${process.env['API_KEY']}`)
    return fetch(url, { ...init, headers })
  }
  const source = await construct<Source>('eventsource', 'EventSource', `${upstream}/events`, { fetch: authorized })
  const streamed: string[] = []
  // Its own timer does not keep a program alive while it waits to come back.
  const tooLate = setTimeout(() => source.close(), 20_000)
  await new Promise<void>((resolve, reject) => {
    source.addEventListener('error', (event) => {
      if (source.readyState === CLOSED) reject(new Error((event as ErrorEvent).message))
    })
    source.addEventListener('message', (event) => {
      if (streamed.push((event as Event & { readonly data: string }).data) === 1) void fetch(`${upstream}/go-on`)
      else resolve()
    })
  })
  clearTimeout(tooLate)
  source.close()
  return { answer: null, streamed }
}

const CLIENTS: Readonly<Record<string, () => Promise<unknown>>> = {
  openai,
  anthropic: () => anthropic('@anthropic-ai/sdk'),
  'anthropic-0': () => anthropic('anthropic-0'),
  eventsource,
}
process.stdout.write(`${JSON.stringify(await CLIENTS[client]?.())}\n`)
