/**
 * Whether the messages of a WebSocket are looked at, and what is done with them: the same decision for each placeholder as
 * in a body. They are looked at when a secret of the sandbox may be put into them, and when the handshake released a value
 * that they might give back; every other WebSocket stays an opaque pipe.
 */
import type { DecideInBody } from '../core/body-substitution.ts'
import type { CoatcheckError } from '../core/errors.ts'
import type { OccurrenceBudget } from '../core/occurrence-budget.ts'
import type { ReleasedValues } from '../core/released-values.ts'
import type { SandboxIdentity } from '../core/sandbox.ts'
import type { MountedSecret } from '../core/secret.ts'
import {
  type ContentContext,
  type ContentPorts,
  inWorkspace,
  longestDress,
  placeableSecrets,
  releasableInContent,
  releaseInContent,
  requireNoneWithheld,
  withdrawnFromMessages,
} from './content-release.ts'
import type { OutgoingUpgrade, UpgradeSocket } from './message.ts'
import { FrameReader, FrameWriter } from './websocket-frames.ts'
import { SandboxMessages, UpstreamMessages } from './websocket-messages.ts'

export interface MessagePorts extends ContentPorts {
  /** Frames up to this are kept; larger ones go on as several. */
  readonly completeBytes: number
}

export interface MessageContext extends Omit<ContentContext, 'sandbox'> {
  readonly budget: OccurrenceBudget
}

/** One direction of an inspected WebSocket. */
export interface Inspected<Messages> {
  readonly reader: FrameReader
  readonly messages: Messages
  readonly writer: FrameWriter
}

/** Null stands for a direction in which bytes pass as they are. */
export interface Inspection {
  readonly fromSandbox: Inspected<SandboxMessages> | null
  readonly fromUpstream: Inspected<UpstreamMessages> | null
  /** Why one of the secrets that may be put into messages no longer may; null while all may. */
  readonly withdrawn: () => Promise<CoatcheckError | null>
}

/** Reads no value. */
export async function outgoingUpgrade(
  ports: MessagePorts,
  sandbox: SandboxIdentity,
  upgrade: UpgradeSocket,
  context: MessageContext,
): Promise<OutgoingUpgrade> {
  const placeable = await placeableSecrets(ports, { sandbox, ...context }, 'websocket')
  const { released } = context
  if (placeable.length === 0 && (released?.masker ?? null) === null) return { ...upgrade, inspection: null }
  const from = { sandbox, ...context }
  return {
    ...upgrade,
    inspection: {
      fromSandbox: placeable.length === 0 ? null : fromSandbox(await inWorkspace(ports, sandbox), from, placeable),
      fromUpstream: released === null ? null : fromUpstream(ports, released),
      withdrawn: () => withdrawnFromMessages(ports, from, placeable),
    },
  }
}

function fromSandbox(
  ports: MessagePorts,
  from: ContentContext & MessageContext,
  placeable: readonly MountedSecret[],
): Inspected<SandboxMessages> {
  const decide: DecideInBody = async (occurrence) => {
    const secret = await releasableInContent(ports, from, occurrence)
    if (secret === null) return null
    return await releaseInContent(ports, from, secret, occurrence)
  }
  const withheld = (count: number): void => {
    from.record.withheld(count)
    requireNoneWithheld(ports.inBody, count)
  }
  const writer = new FrameWriter(true)
  const options = { decide, withheld, budget: from.budget, longestDress: longestDress(placeable) }
  const reader = new FrameReader({ masked: true, wholeBytes: ports.completeBytes })
  return { reader, writer, messages: new SandboxMessages(writer, options) }
}

function fromUpstream(ports: MessagePorts, released: ReleasedValues): Inspected<UpstreamMessages> {
  const writer = new FrameWriter(false)
  const reader = new FrameReader({ masked: false, wholeBytes: ports.completeBytes })
  return { reader, writer, messages: new UpstreamMessages(writer, released) }
}
