/** The authority's public side: its certificate, alone and merged with the system's. A key is never here. */
import { AuthorityDocument } from './contract/server.ts'
import type { Api, ApiDeps } from './dependencies.ts'

const PEM = 'application/pem-certificate-chain'
const pem = (summary: string) => ({ summary, produces: [PEM] })

export function authorityRoutes(api: Api, { authority }: Pick<ApiDeps, 'authority'>): void {
  const config = { permission: 'caller' } as const
  const schema = { summary: 'Get the certificate that sandboxes trust', response: { 200: AuthorityDocument } }
  api.get('/v1/authority', { schema, config }, () => ({
    certificate: authority.certificatePem,
    fingerprint: authority.fingerprint,
    notAfter: authority.notAfter.toISOString(),
  }))

  api.get('/v1/authority/certificate', { schema: pem('Get the certificate as PEM'), config }, (_request, reply) =>
    reply.type(PEM).send(authority.certificatePem),
  )

  const bundle = pem("Get the system's certificates and this one as PEM")
  api.get('/v1/authority/bundle', { schema: bundle, config }, (_request, reply) =>
    reply.type(PEM).send(authority.bundlePem()),
  )
}
