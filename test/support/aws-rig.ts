/** A rig whose sandbox holds a placeholder pair of AWS, what it signs with it, and what its upstream must get for it. */
import { SecretValue } from '../../src/core/secret.ts'
import { type AwsRequest, amzDate, authorize, type Pair, sha256 } from './aws-reference.ts'
import { assertNoLeak, canary } from './leak-check.ts'
import { ALLOWED, Rig, type RigSandbox } from './rig.ts'
import { type Answer, send } from './sandbox-client.ts'
import { valuesOf } from './wire.ts'

export const timeOf = (one: AwsRequest): string => String(valuesOf(one.fields, 'x-amz-date')[0])

export class AwsRig {
  readonly rig: Rig
  readonly real: Pair
  readonly held: Pair
  readonly box: RigSandbox
  #received = Buffer.alloc(0)

  private constructor(rig: Rig, real: Pair, box: RigSandbox) {
    const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = box.env
    this.rig = rig
    this.real = real
    this.box = box
    this.held = { accessKeyId, secretAccessKey }
  }

  /** The pair is the secret `aws-pair`, mounted in the sandbox `cloud` next to the rig's own secret. */
  static async start(): Promise<AwsRig> {
    const rig = await Rig.start()
    const real = { accessKeyId: 'AKIAREALREALREALREAL', secretAccessKey: canary('aws').slice(0, 40) }
    const value = SecretValue.fromText(`${real.accessKeyId}:${real.secretAccessKey}`)
    await rig.app.data.secrets.create(rig.principal, { name: 'aws-pair', type: 'aws', value, hosts: [ALLOWED] })
    return new AwsRig(rig, real, await rig.sandboxWith('cloud', { OPENAI_API_KEY: 'openai', AWS: 'aws-pair' }))
  }

  get hostField(): string {
    return `${ALLOWED}:${this.rig.upstream.port}`
  }

  /** A request that is complete but for its signature, and signs all of its fields. */
  request(changes: Partial<AwsRequest> = {}, fields: readonly string[] = []): AwsRequest {
    const payload = changes.payload ?? sha256('')
    const base = ['Host', this.hostField, 'x-amz-date', amzDate(), 'x-amz-content-sha256', payload, ...fields]
    const signed = base.filter((_text, i) => i % 2 === 0).map((name) => name.toLowerCase())
    return { method: 'GET', target: '/bucket/key', fields: base, signed: signed.sort(), payload, ...changes }
  }

  /** A request for a presigned URL. */
  open(): AwsRequest {
    return this.request({ fields: ['Host', this.hostField], signed: ['host'], payload: 'UNSIGNED-PAYLOAD' })
  }

  /** The fields of the request with its Authorization, without Host. */
  signedFields(one: AwsRequest, pair = this.held, service = 's3'): string[] {
    return [...one.fields.slice(2), 'Authorization', authorize(one, pair, timeOf(one), service)]
  }

  send(
    one: AwsRequest,
    options: { readonly body?: string | Buffer; readonly pair?: Pair; readonly service?: string } = {},
  ): Promise<Answer> {
    const { body, pair, service } = options
    const headers = this.signedFields(one, pair, service)
    const framed = body === undefined ? {} : { body }
    return send(this.rig, { method: one.method, path: one.target, headers, sandbox: this.box, ...framed })
  }

  /** The Authorization field that came, and the one that the real pair makes of what came. */
  authorizations(payload: string, service = 's3'): { readonly came: string; readonly expected: string } {
    const { rawHeaders, method, target, headers } = this.rig.upstream.last
    const came = headers.authorization ?? ''
    const [, signed = ''] = /SignedHeaders=([^,]+)/.exec(came) ?? []
    const one: AwsRequest = { method, target, fields: rawHeaders, signed: signed.split(';'), payload }
    return { came, expected: authorize(one, this.real, String(headers['x-amz-date']), service) }
  }

  /** The signature in the Authorization field that came. */
  get seed(): string {
    return /Signature=(.*)/.exec(this.rig.upstream.last.headers.authorization ?? '')?.[1] ?? ''
  }

  /** Stops the program; the secret access key must have come to nobody, the upstream included. */
  async stop(): Promise<void> {
    const { rig, real } = this
    await rig.stop()
    assertNoLeak(real.secretAccessKey, {
      'what the sandbox saw': Buffer.concat(rig.seen),
      'the upstream': this.#received,
      'the log': rig.logLines.join(''),
    })
  }

  /** Forgets what the upstream received, but for the leak check. */
  clear(): void {
    this.#received = Buffer.concat([this.#received, this.rig.upstream.received])
    this.rig.upstream.clear()
  }

  async lastEvents() {
    const events = await this.rig.events()
    return {
      exchange: events.findLast((event) => event.kind === 'exchange'),
      release: events.findLast((event) => event.kind === 'release'),
    }
  }
}
