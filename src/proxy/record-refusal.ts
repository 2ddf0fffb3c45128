/** The closing event of what was refused before it became an exchange. */
import type { SandboxIdentity } from '../core/sandbox.ts'
import { type ExchangeLogPorts, ExchangeRecord } from './exchange-log.ts'
import type { Destination } from './message.ts'

export interface Refused {
  readonly id: string
  readonly method: string
  /** Null when it is not known who asked. */
  readonly sandbox: SandboxIdentity | null
  /** As far as it could be read. */
  readonly destination?: Destination
}

export function recordRefusal(ports: ExchangeLogPorts, refused: Refused, error: unknown): void {
  const record = new ExchangeRecord(ports, refused.id, refused.method, refused.sandbox)
  if (refused.destination !== undefined) record.routed(refused.destination, null)
  record.failed(error)
  record.finish(null, 0, 0)
}
