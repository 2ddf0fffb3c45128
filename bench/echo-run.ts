/**
 * Asks a reflecting upstream, through the real proxy, to give a released value back in every form and in every place of an
 * answer, and says what the sandbox got: the placeholder, the value in that form, or a refusal.
 */
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { SecretValue } from '../src/core/secret.ts'
import { canary } from '../test/support/leak-check.ts'
import { Rig, type RigSandbox } from '../test/support/rig.ts'
import { headText, openWire } from '../test/support/sandbox-client.ts'
import type { Wire, WireMessage } from '../test/support/wire.ts'
import { ECHO_FORMS, type EchoForm } from './echo-forms.ts'

/** What the sandbox got: `impossible` where the form cannot stand in the place. */
export type Outcome = 'masked' | 'shown' | 'refused' | 'impossible'

export interface EchoResult {
  readonly name: string
  /** One for each of the columns. */
  readonly outcomes: readonly Outcome[]
}

export interface EchoTable {
  readonly columns: readonly string[]
  readonly rows: readonly EchoResult[]
}

interface Place {
  readonly name: string
  /** Fields and reason are text without controls. */
  readonly bytes: boolean
  readonly answer: (echo: string) => Buffer
}

const END = 'Content-Length: 2\r\n\r\nok'

const PLACES: readonly Place[] = [
  { name: 'body', bytes: true, answer: (echo) => bodied(Buffer.from(echo, 'latin1')) },
  { name: 'gzip', bytes: true, answer: (echo) => bodied(gzipSync(Buffer.from(echo, 'latin1')), 'gzip') },
  { name: 'deflate', bytes: true, answer: (echo) => bodied(deflateSync(Buffer.from(echo, 'latin1')), 'deflate') },
  { name: 'zstd', bytes: true, answer: (echo) => bodied(zstdCompressSync(Buffer.from(echo, 'latin1')), 'zstd') },
  { name: 'br', bytes: true, answer: (echo) => bodied(brotliCompressSync(Buffer.from(echo, 'latin1')), 'br') },
  { name: 'field', bytes: false, answer: (echo) => latin1(`HTTP/1.1 200 OK\r\nX-Echo: ${echo}\r\n${END}`) },
  {
    name: 'cookie',
    bytes: false,
    answer: (echo) => latin1(`HTTP/1.1 200 OK\r\nSet-Cookie: a=${echo}; Path=/\r\n${END}`),
  },
  { name: 'Location', bytes: false, answer: (echo) => latin1(`HTTP/1.1 302 Found\r\nLocation: /?k=${echo}\r\n${END}`) },
  { name: 'reason', bytes: false, answer: (echo) => latin1(`HTTP/1.1 200 ${echo}\r\n${END}`) },
  { name: 'trailer', bytes: false, answer: trailed },
  {
    name: '1xx',
    bytes: false,
    answer: (echo) => latin1(`HTTP/1.1 103 Early Hints\r\nX-Echo: ${echo}\r\n\r\nHTTP/1.1 200 OK\r\n${END}`),
  },
]

/** Answers whose packing is not what it says, or cannot be opened, with the value as it is. */
const PACKED: readonly { readonly name: string; readonly answer: (echo: string) => Buffer }[] = [
  { name: 'two codings: `gzip, br`', answer: (echo) => bodied(brotliCompressSync(gzipSync(echo)), 'gzip, br') },
  { name: 'a coding that nobody knows', answer: (echo) => bodied(latin1(echo), 'x-unknown') },
  { name: 'labelled gzip, and plain', answer: (echo) => bodied(latin1(echo), 'gzip') },
  { name: 'packed with gzip and not labelled, as text', answer: (echo) => bodied(gzipSync(echo)) },
  {
    name: 'packed with gzip and not labelled, as `application/octet-stream`',
    answer: (echo) => bodied(gzipSync(echo), null, 'application/octet-stream'),
  },
]

/** Starts the program and an upstream, asks, and leaves nothing behind. */
export async function runEcho(): Promise<{ readonly forms: EchoTable; readonly packed: EchoTable }> {
  const rig = await Rig.start()
  try {
    const reflector = await Reflector.start(rig)
    const rows: EchoResult[] = []
    for (const form of ECHO_FORMS) rows.push({ name: form.name, outcomes: await outcomesOf(reflector, form) })
    const packed: EchoResult[] = []
    for (const { name, answer } of PACKED) {
      packed.push({ name, outcomes: [await reflector.ask(answer(reflector.value), gzipSync(reflector.value))] })
    }
    return { forms: { columns: PLACES.map(({ name }) => name), rows }, packed: { columns: ['body'], rows: packed } }
  } finally {
    await rig.stop()
  }
}

async function outcomesOf(reflector: Reflector, form: EchoForm): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const texts = form.texts(reflector.value)
  for (const place of PLACES) {
    if (!place.bytes && texts.some((text) => /[^\x20-\x7e]/.test(text))) {
      outcomes.push('impossible')
      continue
    }
    const each: Outcome[] = []
    for (const text of texts) each.push(await reflector.ask(place.answer(text), latin1(text), form))
    outcomes.push(each.find((outcome) => outcome !== 'masked') ?? 'masked')
  }
  return outcomes
}

/** A rig whose upstream answers with the bytes it is given, whatever it is asked. */
class Reflector {
  readonly #rig: Rig
  readonly #box: RigSandbox
  readonly #placeholder: string
  /** With characters in it that URLs, JSON and HTML write differently. */
  readonly value: string

  private constructor(rig: Rig, box: RigSandbox, placeholder: string, value: string) {
    this.#rig = rig
    this.#box = box
    this.#placeholder = placeholder
    this.value = value
  }

  static async start(rig: Rig): Promise<Reflector> {
    const value = `${canary('echo')}/+"<&>'= \\?#%~`
    const { secret } = await rig.app.data.secrets.create(rig.principal, {
      name: 'echoed',
      value: SecretValue.fromText(value),
      hosts: ['api.test'],
    })
    return new Reflector(rig, await rig.sandboxWith('echo', { KEY: 'echoed' }), secret.placeholder, value)
  }

  /** @param echo how the value stands in the answer, once any coding is off: in the form, in which the placeholder may be too. */
  async ask(answer: Buffer, echo: Buffer, form?: EchoForm): Promise<Outcome> {
    this.#rig.upstream.takeRaw(async (upstream: Wire) => {
      await upstream.head()
      upstream.write(answer)
      upstream.socket.end()
    })
    const sandbox = await openWire(this.#rig, { sandbox: this.#box })
    sandbox.write(headText(this.#rig, 'GET /', ['Authorization', `Bearer ${this.#placeholder}`]))
    const got = await messages(sandbox)
    sandbox.socket.destroy()
    this.#rig.upstream.clear()
    if (got.includes('coatcheck-error: unmaskable_response')) return 'refused'
    if (got.includes(echo)) return 'shown'
    const standing = [this.#placeholder, ...(form?.texts(this.#placeholder) ?? [])]
    if (standing.some((text) => got.includes(text, 0, 'latin1'))) return 'masked'
    throw new Error('the sandbox got neither the echo nor the placeholder')
  }
}

/** The answer and what was said before it, without its framing. */
async function messages(wire: Wire): Promise<Buffer> {
  const parts: Buffer[] = []
  let message: WireMessage
  do {
    message = await wire.message()
    const fields = pairs([...message.fields, ...message.trailers])
    parts.push(latin1(`${message.start}\n${fields}\n`), message.body)
  } while (message.status < 200)
  return Buffer.concat(parts)
}

function pairs(fields: readonly string[]): string {
  return fields.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\n`)).join('')
}

function bodied(body: Buffer, coding: string | null = null, type = 'text/plain'): Buffer {
  const label = coding === null ? '' : `Content-Encoding: ${coding}\r\n`
  const head = `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${label}Content-Length: ${body.length}\r\n\r\n`
  return Buffer.concat([latin1(head), body])
}

function trailed(echo: string): Buffer {
  return latin1(
    `HTTP/1.1 200 OK\r\nTrailer: X-Echo\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Echo: ${echo}\r\n\r\n`,
  )
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
