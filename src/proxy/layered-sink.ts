/** A layer over another sink: everything passes unless a subclass says otherwise. */
import type { ResponseSink } from './message.ts'

export abstract class LayeredSink implements ResponseSink {
  protected readonly sink: ResponseSink

  constructor(sink: ResponseSink) {
    this.sink = sink
  }

  get headSent(): boolean {
    return this.sink.headSent
  }

  get status(): number | null {
    return this.sink.status
  }

  get bytes(): number {
    return this.sink.bytes
  }

  get gone(): boolean {
    return this.sink.gone
  }

  onGone(callback: () => void): void {
    this.sink.onGone(callback)
  }

  informational(status: number, headers: readonly string[]): void {
    this.sink.informational(status, headers)
  }

  switching(headers: readonly string[]): readonly string[] {
    return this.sink.switching(headers)
  }

  head(status: number, reason: string, headers: readonly string[]): void {
    this.sink.head(status, reason, headers)
  }

  write(chunk: Buffer): boolean {
    return this.sink.write(chunk)
  }

  onDrain(callback: () => void): void {
    this.sink.onDrain(callback)
  }

  end(trailers: readonly string[]): void {
    this.sink.end(trailers)
  }

  settled(): Promise<void> | null {
    return this.sink.settled()
  }

  explain(error: unknown): unknown {
    return this.sink.explain(error)
  }

  abort(): void {
    this.sink.abort()
  }
}
