/** A rig with its API as attackers meet it: requests with exactly the headers given, straight to an address or through the proxy. */
import { readFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { Rig } from './rig.ts'

export interface Sent {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface Seen {
  readonly status: number
  readonly text: string
}

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

export class AttackedApi {
  readonly rig: Rig
  readonly admin: string

  private constructor(rig: Rig, admin: string) {
    this.rig = rig
    this.admin = admin
  }

  static async start(): Promise<AttackedApi> {
    const rig = await Rig.start()
    return new AttackedApi(rig, (await readFile(rig.app.data.adminToken.path, 'utf8')).trim())
  }

  /** Straight to an address; what comes back counts as seen by a sandbox. */
  async ask(base: string, path: string, { method = 'GET', headers = {}, body }: Sent = {}): Promise<Seen> {
    const { hostname, port } = new URL(base)
    const seen = await new Promise<Seen>((resolve, reject) => {
      const call = httpRequest({ hostname, port, path, method, headers }, (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
      })
      call.on('error', reject)
      call.end(body)
    })
    this.rig.seen.push(Buffer.from(seen.text))
    return seen
  }

  /** As the administrator, unless the headers say otherwise. */
  async api(path: string, sent: Sent = {}): Promise<Seen> {
    return await this.ask(this.rig.app.apiUrl, path, { ...sent, headers: { ...bearer(this.admin), ...sent.headers } })
  }

  /** In absolute form through the proxy, as the rig's sandbox. */
  async throughProxy(url: string, token = this.rig.sandbox.token): Promise<Seen> {
    const credentials = Buffer.from(`${this.rig.sandbox.name}:${token}`).toString('base64')
    const headers = { 'proxy-authorization': `Basic ${credentials}`, host: new URL(url).host }
    return await this.ask(this.rig.app.proxyUrl, url, { headers })
  }
}
