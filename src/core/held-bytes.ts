/** Received bytes that wait for more, in one buffer: many small pieces cost no more than one large one. */
export class HeldBytes {
  #buffer: Buffer = Buffer.alloc(0)
  #start = 0
  #end = 0
  /** False while the buffer is what was received, which is not written to. */
  #own = false

  get length(): number {
    return this.#end - this.#start
  }

  append(bytes: Buffer): void {
    if (this.length === 0) {
      this.#buffer = bytes
      this.#start = 0
      this.#end = bytes.length
      this.#own = false
      return
    }
    if (!this.#own || this.#end + bytes.length > this.#buffer.length) this.#grow(bytes.length)
    bytes.copy(this.#buffer, this.#end)
    this.#end += bytes.length
  }

  peek(most: number): Buffer {
    return this.#buffer.subarray(this.#start, Math.min(this.#end, this.#start + most))
  }

  /** The first bytes held; they are never written over. */
  take(count: number): Buffer {
    const taken = this.#buffer.subarray(this.#start, this.#start + count)
    this.#start += count
    return taken
  }

  #grow(by: number): void {
    const grown = Buffer.alloc(2 * (this.length + by))
    this.#buffer.copy(grown, 0, this.#start, this.#end)
    this.#end -= this.#start
    this.#start = 0
    this.#buffer = grown
    this.#own = true
  }
}
