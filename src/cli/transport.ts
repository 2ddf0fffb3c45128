/** How a command reaches the API: over HTTP, or the same routes in this process. Commands cannot tell which. */

/** Names in lower case. */
export type Headers = Readonly<Record<string, string>>

export interface TransportAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Transport {
  /** `path` with its query, percent-encoded; `body` is sent as JSON. Rejects with a Failure when there is no answer. */
  request(method: string, path: string, body?: unknown, headers?: Headers): Promise<TransportAnswer>
  /** An answer that goes on, as its bytes come; null when there is none such. Absent where nothing can go on. */
  stream?(path: string, headers: Headers, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | null>
  /** Lets go of what it holds open. */
  close(): Promise<void>
}
