/** How a command reaches the API: over HTTP, or the same routes in this process. Commands cannot tell which. */

export interface TransportAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Transport {
  /** `path` with its query, percent-encoded; `body` is sent as JSON. Rejects with a Failure when there is no answer. */
  request(method: string, path: string, body?: unknown): Promise<TransportAnswer>
  /** Lets go of what it holds open. */
  close(): Promise<void>
}
