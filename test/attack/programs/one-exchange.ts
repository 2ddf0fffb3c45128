/**
 * A program of its own, so that it starts under the environment a test gives it: runs the rig, sends one request with the
 * placeholder over TLS and one without over plain HTTP, and prints what became of them as one JSON document.
 *
 * Arguments: `trusted`, `untrusted` (the upstream's authority is unknown) or `own DATADIR` (the upstream shows a leaf that
 * the authority of that data directory signed).
 */
import { CertificateForge, ownAuthority } from '../../support/certificate-forge.ts'
import { RawSandbox } from '../../support/raw-sandbox.ts'
import { Rig } from '../../support/rig.ts'
import { TestAuthority } from '../../support/test-authority.ts'
import { TlsOrigin } from '../../support/tls-origin.ts'

const [mode, dataDir = ''] = process.argv.slice(2)

const stranger = await TestAuthority.create()
const origin = await TlsOrigin.start()
const env = {
  ...(mode === 'untrusted' ? { COATCHECK_UPSTREAM_EXTRACA: stranger.caFile } : {}),
  ...(mode === 'own' ? { COATCHECK_DATADIR: dataDir } : {}),
}
const rig = await Rig.start({ env, ports: [origin.port] })
const box = new RawSandbox(rig)
if (mode === 'own') {
  const forge = await CertificateForge.create()
  origin.present(forge.issue({ issuer: await ownAuthority(dataDir), names: [['dns', 'api.test']] }))
  await forge.remove()
}
const secure = `api.test:${mode === 'own' ? origin.port : rig.upstream.port}`
const plain = `api.test:${rig.plain.port}`
const overTls = await box.ask(`GET https://${secure}/ HTTP/1.1`, `Host: ${secure}`, box.authorization)
const overPlain = await box.ask(`GET http://${plain}/ HTTP/1.1`, `Host: ${plain}`)
const received = Buffer.concat([rig.upstream.received, origin.received])
const result = {
  tls: overTls.status,
  code: overTls.code,
  plain: overPlain.status,
  released: received.includes(rig.value),
  bytes: received.length,
}
await rig.stop()
await Promise.all([origin.stop(), stranger.remove()])
process.stdout.write(JSON.stringify(result))
