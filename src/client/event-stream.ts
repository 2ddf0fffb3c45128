/**
 * Server-sent events as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream): lines end
 * with CR, LF or both, comments are left out, and an event that was cut short is none.
 */
export interface StreamedEvent {
  /** Of the last event that had one, up to this one; null = none yet. */
  readonly id: string | null
  /** Null for what only moves the id on. */
  readonly data: string | null
}

/** Longest event that is kept. */
const MAX_CHARACTERS = 1024 * 1024

export async function* eventsIn(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<StreamedEvent, void, undefined> {
  const fields = new EventFields()
  for await (const line of linesIn(chunks)) {
    const event = fields.take(line)
    if (event !== null) yield event
  }
}

class EventFields {
  #id: string | null = null
  #data: string[] = []
  #length = 0
  #moved = false

  /** The event that this line ends; null while there is none. */
  take(line: string): StreamedEvent | null {
    if (line === '') return this.#end()
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'data') {
      this.#length += value.length
      if (this.#length > MAX_CHARACTERS) throw new RangeError('An event is too long.')
      this.#data.push(value)
    }
    if (name === 'id' && !value.includes('\0')) {
      this.#id = value
      this.#moved = true
    }
    return null
  }

  #end(): StreamedEvent | null {
    const data = this.#data.length === 0 ? null : this.#data.join('\n')
    const event = data === null && !this.#moved ? null : { id: this.#id, data }
    this.#data = []
    this.#length = 0
    this.#moved = false
    return event
  }
}

async function* linesIn(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  let afterCr = false
  for await (const chunk of chunks) {
    let text = decoder.decode(chunk, { stream: true })
    if (afterCr && text.startsWith('\n')) text = text.slice(1)
    if (text !== '') afterCr = text.endsWith('\r')
    const lines = (rest + text).split(/\r\n|\r|\n/)
    rest = lines.pop() ?? ''
    if (rest.length > MAX_CHARACTERS) throw new RangeError('A line is too long.')
    yield* lines
  }
}
