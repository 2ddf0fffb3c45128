/** The demo's internet: one TLS server for two names, which keeps what it received and sends it back. */
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { Authority } from '../authority/authority.ts'
import { LeafCache } from '../authority/leaf-cache.ts'

export interface Received {
  readonly host: string
  readonly authorization: string
}

export class DemoUpstream {
  readonly received: Received[] = []
  readonly certificatePem: string
  readonly #server: https.Server

  private constructor(server: https.Server, certificatePem: string) {
    this.#server = server
    this.certificatePem = certificatePem
  }

  /** @param dir for its own certificate authority, which is not coatcheck's. */
  static async start(dir: string, names: readonly string[]): Promise<DemoUpstream> {
    const authority = await Authority.open({ dir, clock: Date.now })
    const leaves = new LeafCache({ authority, clock: Date.now })
    const server = https.createServer()
    for (const name of names) server.addContext(name, await leaves.contextFor(name))
    const upstream = new DemoUpstream(server, authority.certificatePem)
    server.on('request', (request, response) => {
      const { host = '', authorization = '' } = request.headers
      upstream.received.push({ host, authorization })
      response.setHeader('content-type', 'application/json')
      response.end(`${JSON.stringify({ youSent: { authorization } })}\n`)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return upstream
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
