/** A DNS server on loopback that answers as a test says, differently each time if need be (RFC 1035 4, TTL 0). */
import dgram from 'node:dgram'
import { once } from 'node:events'
import { isIPv4 } from 'node:net'
import { parseAddress } from '../../src/core/address.ts'

export type DnsType = 'A' | 'AAAA' | 'CNAME'

export interface DnsRecord {
  readonly name: string
  readonly type: DnsType
  /** An address, or the name that a CNAME leads to. */
  readonly value: string
}

/** `nth` counts the questions for this name and type, from 0. */
export type DnsAnswer = (name: string, type: DnsType, nth: number) => readonly DnsRecord[]

const TYPE_CODES: Readonly<Record<DnsType, number>> = { A: 1, CNAME: 5, AAAA: 28 }
const HEADER = 12
const NXDOMAIN = 3

export class DnsStub {
  /** Every question that was asked, such as `api.test A`. */
  readonly questions: string[] = []
  readonly #socket: dgram.Socket
  #answer: DnsAnswer = () => []

  private constructor(socket: dgram.Socket) {
    this.#socket = socket
    socket.on('message', (message, { address, port }) => socket.send(this.#reply(message), port, address))
  }

  static async start(): Promise<DnsStub> {
    const socket = dgram.createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new DnsStub(socket)
  }

  /** `127.0.0.1:port`, for DnsResolver. */
  get server(): string {
    return `127.0.0.1:${this.#socket.address().port}`
  }

  answerWith(answer: DnsAnswer): void {
    this.questions.length = 0
    this.#answer = answer
  }

  async stop(): Promise<void> {
    this.#socket.close()
    await once(this.#socket, 'close')
  }

  #reply(message: Buffer): Buffer {
    let end = HEADER
    const labels: string[] = []
    for (let length = message[end] ?? 0; length > 0; length = message[end] ?? 0) {
      labels.push(message.toString('latin1', end + 1, end + 1 + length))
      end += 1 + length
    }
    const code = message.readUInt16BE(end + 1)
    const question = message.subarray(HEADER, end + 5)
    const name = labels.join('.').toLowerCase()
    const type: DnsType = code === TYPE_CODES.AAAA ? 'AAAA' : 'A'
    const asked = `${name} ${type}`
    const nth = this.questions.filter((each) => each === asked).length
    this.questions.push(asked)
    const records = this.#answer(name, type, nth)
    const header = Buffer.alloc(HEADER)
    message.copy(header, 0, 0, 2)
    // A response, recursion desired and available; no such name when there is no record.
    header.writeUInt16BE(0x8180 | (records.length === 0 ? NXDOMAIN : 0), 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    return Buffer.concat([header, question, ...records.map(encode)])
  }
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1'))
  return Buffer.concat([...labels, Buffer.from([0])])
}

function encode({ name, type, value }: DnsRecord): Buffer {
  const data = type === 'CNAME' ? encodeName(value) : addressBytes(value)
  const fixed = Buffer.alloc(10)
  fixed.writeUInt16BE(TYPE_CODES[type], 0)
  fixed.writeUInt16BE(1, 2)
  fixed.writeUInt16BE(data.length, 8)
  return Buffer.concat([encodeName(name), fixed, data])
}

function addressBytes(text: string): Buffer {
  const digits = isIPv4(text) ? 8 : 32
  return Buffer.from((parseAddress(text)?.value ?? 0n).toString(16).padStart(digits, '0'), 'hex')
}
