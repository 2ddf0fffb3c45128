/** The bounds that can be set: rows of the table of settings. */
import type { SettingAt, SettingPath } from './settings.ts'
import { byteSize, duration, type SettingRow, wholeNumber } from './settings-kinds.ts'

type LimitPath = Extract<SettingPath, `limits.${string}`>

export const LIMITS: { readonly [P in LimitPath]: SettingRow<SettingAt<P>> } = {
  'limits.connections': {
    comment: 'Open connections to each listener, of all sandboxes together.',
    default: 10_000,
    kind: wholeNumber(1, 1_000_000),
  },
  'limits.tunnelsPerSandbox': {
    comment: 'Open tunnels of one sandbox.',
    default: 1000,
    kind: wholeNumber(1, 1_000_000),
  },
  'limits.newLeavesPerSecond': {
    comment: 'Certificates issued for new hosts, per second and sandbox.',
    default: 20,
    kind: wholeNumber(1, 10_000),
  },
  'limits.headerBytes': {
    comment: 'Size of a request head.',
    default: '64KiB',
    kind: byteSize(1024, 1024 ** 2),
  },
  'limits.headersTimeout': {
    comment: 'How long a sandbox may take to send a request head.',
    default: '10s',
    kind: duration,
  },
  'limits.handshakeTimeout': {
    comment: 'How long a sandbox may take for its TLS handshake.',
    default: '5s',
    kind: duration,
  },
  'limits.idleTimeout': {
    comment: 'How long a connection or tunnel may be silent.',
    default: '300s',
    kind: duration,
  },
  'limits.bodyBytes': {
    comment:
      'Bodies with a Content-Length up to this are completed before values are put into them, so that they keep a Content-Length; so are WebSocket messages.',
    default: '256KiB',
    kind: byteSize(1024, 1024 ** 3),
  },
}
