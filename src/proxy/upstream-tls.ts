/**
 * What an upstream must prove: a chain to a trusted root that is not our own authority, and a subject alternative name
 * for exactly the canonical host. Verification cannot be switched off.
 */
import { X509Certificate } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import tls, { type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls'
import { CoatcheckError } from '../core/errors.ts'
import { certificateNameCovers } from '../core/host-pattern.ts'
import type { Destination } from './message.ts'

/** Forward secrecy and AEAD only, as towards sandboxes; with TLS 1.2 the upstream's key may also be RSA. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/**
 * Roots for upstream connections: Node's own, the system's, and `extraCa`, without our authority (a sandbox host may
 * well have it installed: what we sign must never pass as an upstream).
 */
export function upstreamContext(extraCa: string | null, authorityPem: string): SecureContext {
  const own = new X509Certificate(authorityPem).fingerprint256
  const roots = new Set([
    ...tls.getCACertificates('default'),
    ...tls.getCACertificates('system'),
    ...splitPem(extraCa ?? ''),
  ])
  return tls.createSecureContext({
    ca: [...roots].filter((pem) => new X509Certificate(pem).fingerprint256 !== own),
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
  })
}

/** The certificates of a PEM bundle, one string each. */
function splitPem(bundle: string): readonly string[] {
  return bundle.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
}

/** RFC 9525: a name comes from subjectAltName alone (Node would fall back to the common name). */
export function checkUpstreamName(host: string, certificate: PeerCertificate): Error | undefined {
  const names = (certificate.subjectaltname ?? '').split(', ')
  if (isIP(host) !== 0) {
    const addresses = names.filter((name) => name.startsWith('IP Address:'))
    return addresses.length > 0
      ? tls.checkServerIdentity(host, certificate)
      : new Error('no address in the certificate')
  }
  const covered = names.some((name) => name.startsWith('DNS:') && certificateNameCovers(name.slice(4), host))
  return covered ? undefined : new Error('the certificate is not for this name')
}

function tlsError(cause: Error & { code?: string }): CoatcheckError {
  return new CoatcheckError(
    'upstream_tls',
    'The upstream could not prove its name over TLS, so nothing was sent.',
    'Check its certificate; the CA of a private upstream goes into upstream.extraCa.',
    { cause },
  )
}

/** Starts TLS on a connected socket and resolves once the upstream is verified. Throws `upstream_tls`. */
export function startUpstreamTls(
  socket: Socket,
  destination: Destination,
  secureContext: SecureContext,
  alpn: readonly string[],
  signal: AbortSignal,
): Promise<TLSSocket> {
  const { host } = destination
  return new Promise((resolve, reject) => {
    const secure = tls.connect({
      socket,
      secureContext,
      host,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: [...alpn],
      rejectUnauthorized: true,
      checkServerIdentity: (_name, certificate) => checkUpstreamName(host, certificate),
    })
    const abort = () => secure.destroy(signal.reason as Error)
    const fail = (error: Error) => {
      signal.removeEventListener('abort', abort)
      socket.destroy()
      reject(signal.aborted ? (signal.reason as Error) : tlsError(error))
    }
    signal.addEventListener('abort', abort, { once: true })
    secure.once('error', fail)
    secure.once('close', () => fail(new Error('closed during the handshake')))
    secure.once('secureConnect', () => {
      signal.removeEventListener('abort', abort)
      secure.removeListener('error', fail)
      secure.removeAllListeners('close')
      resolve(secure)
    })
  })
}
