/** The authority's public side: its certificate, alone and merged with the system's. A key is never here. */
import { AuthorityDocument } from './contract.ts'
import type { Api, ApiDeps } from './dependencies.ts'

const PEM = 'application/pem-certificate-chain'

export function authorityRoutes(api: Api, { authority }: Pick<ApiDeps, 'authority'>): void {
  api.get('/v1/authority', { schema: { response: { 200: AuthorityDocument } } }, () => ({
    certificate: authority.certificatePem,
    fingerprint: authority.fingerprint,
    notAfter: authority.notAfter.toISOString(),
  }))

  api.get('/v1/authority/certificate', (_request, reply) => reply.type(PEM).send(authority.certificatePem))

  api.get('/v1/authority/bundle', (_request, reply) => reply.type(PEM).send(authority.bundlePem()))
}
