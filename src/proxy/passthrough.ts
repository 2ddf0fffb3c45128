/** A blind tunnel, for hosts that pin their certificate: audited, subject to egress rules, and never carrying a release. */
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { EgressPolicy } from '../core/egress.ts'
import { asCoatcheckError, CoatcheckError } from '../core/errors.ts'
import { type ExchangeLogPorts, ExchangeRecord } from './exchange-log.ts'
import type { TunnelCall } from './message.ts'
import type { Upstream } from './upstream.ts'

export interface PassthroughPorts extends ExchangeLogPorts {
  readonly egress: EgressPolicy
  readonly upstream: Upstream
  readonly limits: { readonly idleTimeoutMs: number }
}

/** Two pipelines listen more often for an end than Node takes for no leak. */
const MOST_LISTENERS = 20

/** Connects it, answers it, and resolves when it is closed. Never rejects. */
export async function passThrough(ports: PassthroughPorts, tunnel: TunnelCall): Promise<void> {
  const { authority, socket: client } = tunnel
  const record = new ExchangeRecord(ports, tunnel.id, 'CONNECT', tunnel.sandbox)
  record.routed({ scheme: 'https', ...authority }, null)
  const before = client.bytesRead
  let status: number | null = null
  let upstream: Socket | null = null
  try {
    const egress = ports.egress.decide(authority)
    if (!egress.allow) throw new CoatcheckError(egress.reason, egress.message, egress.hint)
    if (ports.egress.needsRequest(authority.host, authority.port)) {
      throw new CoatcheckError(
        'egress_denied',
        'Egress rules look at methods or paths for this host, and a blind tunnel hides them.',
        'Take the host out of proxy.passthrough, or decide by host and port alone.',
      )
    }
    const opened = await ports.upstream.open({ scheme: 'http', ...authority }, [])
    upstream = opened.socket
    record.reached(opened.peer)
    record.tunnelled()
    tunnel.accept()
    status = 200
    if (tunnel.head.length > 0) upstream.write(tunnel.head)
    client.setTimeout(ports.limits.idleTimeoutMs, () => client.destroy())
    for (const end of [client, upstream]) end.setMaxListeners(MOST_LISTENERS)
    await Promise.allSettled([pipeline(client, upstream), pipeline(upstream, client)])
  } catch (error) {
    record.failed(error)
    tunnel.refuse(asCoatcheckError(error))
  } finally {
    upstream?.destroy()
    record.finish(status, client.bytesRead - before + tunnel.head.length, upstream?.bytesRead ?? 0)
  }
}
