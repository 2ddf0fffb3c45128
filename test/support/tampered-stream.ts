/** A connection whose outgoing writes a test may change, below TLS: to cut, add or corrupt bytes at an exact place. */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** Gets each write and its number, from 0; what it returns goes out instead. */
export type Tamper = (bytes: Buffer, write: number) => Buffer

/** A TLS record of application data that no key decrypts (RFC 8446 5.2). */
export const FORGED_RECORD = Buffer.concat([Buffer.from([0x17, 0x03, 0x03, 0x00, 0x20]), Buffer.alloc(32, 0xa5)])

export function tampered(socket: Socket, tamper: Tamper): Duplex {
  let writes = 0
  const stream = new Duplex({
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      socket.write(tamper(chunk, writes++), () => done())
    },
    writev: (chunks, done) => {
      socket.write(tamper(Buffer.concat(chunks.map((each) => each.chunk as Buffer)), writes++), () => done())
    },
    final: (done) => {
      socket.end()
      done()
    },
    destroy: (error, done) => {
      socket.destroy()
      done(error)
    },
  })
  socket.on('data', (chunk: Buffer) => {
    if (!stream.push(chunk)) socket.pause()
  })
  socket.on('end', () => stream.push(null))
  socket.on('close', () => stream.destroy())
  socket.on('error', () => stream.destroy())
  return stream
}
