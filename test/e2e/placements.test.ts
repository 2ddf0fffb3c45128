/**
 * Placements. A value goes where its secret's placements say and nowhere else in the request; it is put in byte for byte,
 * encoded as the place demands, and never looked at again. Every other byte stays as it was.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { NewSecret } from '../../src/core/ports.ts'
import { type Secret, SecretValue } from '../../src/core/secret.ts'
import { canary } from '../support/leak-check.ts'
import { Rig } from '../support/rig.ts'
import { headText, openWire } from '../support/sandbox-client.ts'
import { until } from '../support/until.ts'
import { valuesOf, type WireMessage } from '../support/wire.ts'

let rig: Rig
const mounts: Record<string, string> = { OPENAI_API_KEY: 'openai' }
beforeAll(async () => {
  rig = await Rig.start()
})
afterEach(async () => {
  rig.upstream.clear()
  await until(() => rig.upstream.sockets.size === 0)
})
afterAll(async () => {
  await rig.stop()
})

/** A further secret, mounted in the same sandbox. */
async function mount(value: string, input: Partial<NewSecret> = {}): Promise<Secret> {
  const name = `secret-${Object.keys(mounts).length}`
  const secret = { name, value: SecretValue.fromText(value), hosts: ['api.test'], ...input }
  const created = await rig.app.data.secrets.create(rig.principal, secret)
  mounts[`SECRET_${Object.keys(mounts).length}`] = name
  await rig.app.data.sandboxes.setMounts(rig.principal, 'box', mounts)
  return created.secret
}

async function ask(target: string, fields: readonly string[]): Promise<WireMessage> {
  const wire = await openWire(rig)
  wire.write(headText(rig, `GET ${target}`, fields))
  const answer = await wire.message()
  wire.socket.destroy()
  return answer
}

/** Asks, and returns what the upstream got in fields of that name. */
async function arrived(name: string, value: string): Promise<string[]> {
  expect((await ask('/', [name, value])).status).toBe(200)
  return valuesOf(rig.upstream.last.rawHeaders, name.toLowerCase())
}

async function refusalOf(target: string, fields: readonly string[]): Promise<string | undefined> {
  const answer = await ask(target, fields)
  expect(answer.status).toBe(403)
  expect(rig.upstream.connections).toBe(0)
  return valuesOf(answer.fields, 'coatcheck-error')[0]
}

const basic = (text: string) => `Basic ${Buffer.from(text, 'latin1').toString('base64')}`

describe('credential headers', () => {
  it.each(['Authorization', 'X-Api-Key', 'x-goog-api-key', 'PRIVATE-TOKEN', 'X-Auth', 'apikey', 'X-Client-Secret'])(
    'take a value by default: %s',
    async (name) => {
      expect(await arrived(name, `a ${rig.secret.placeholder} b`)).toEqual([`a ${rig.value} b`])
    },
  )

  it.each([
    'Cookie',
    'User-Agent',
    'Referer',
    'X-Forwarded-For',
    'Accept',
    'Idempotency-Key',
    'X-Csrf-Token',
    'Origin',
  ])('are not: %s', async (name) => {
    expect(await refusalOf('/', [name, rig.secret.placeholder])).toBe('placement_not_allowed')
  })

  it('of Basic have the value in the user half, the password half, or both', async () => {
    const { placeholder } = rig.secret
    for (const form of ['user:%', '%:x-oauth-basic', '%:', ':%', '%:%', 'a%b:c']) {
      const credentials = form.replaceAll('%', () => placeholder)
      expect(await arrived('Authorization', basic(credentials))).toEqual([basic(form.replaceAll('%', () => rig.value))])
    }
  })

  it('of Basic keep every other byte', async () => {
    const credentials = `\xff\x80üser:${rig.secret.placeholder}:\xfe`
    const expected = `\xff\x80üser:${rig.value}:\xfe`
    expect(await arrived('authorization', basic(credentials))).toEqual([basic(expected)])
  })

  it('of Basic must be canonical base64', async () => {
    const odd = basic(`u:${rig.secret.placeholder}`).replace(/=*$/, '')
    expect(odd).not.toBe(basic(`u:${rig.secret.placeholder}`))
    expect(await refusalOf('/', ['Authorization', odd])).toBe('placement_not_allowed')
  })
})

describe('a chosen placement', () => {
  it('header:<name> takes a value in that header and no other', async () => {
    const value = canary('cookie')
    const { placeholder } = await mount(value, { placements: ['header:cookie'] })
    expect(await arrived('CooKie', `session=${placeholder}; a=b`)).toEqual([`session=${value}; a=b`])
    rig.upstream.clear()
    await until(() => rig.upstream.sockets.size === 0)
    expect(await refusalOf('/', ['Authorization', placeholder])).toBe('placement_not_allowed')
  })

  it('header:* takes a value in every header that can take one', async () => {
    const value = canary('any')
    const { placeholder } = await mount(value, { placements: ['header:*'] })
    for (const name of ['User-Agent', 'Cookie', 'X-Anything', 'Authorization']) {
      expect(await arrived(name, placeholder)).toEqual([value])
    }
    rig.upstream.clear()
    await until(() => rig.upstream.sockets.size === 0)
    for (const name of ['Via', 'Max-Forwards', 'Accept-Encoding', 'Range', 'Forwarded', 'Proxy-Anything']) {
      expect(await refusalOf('/', [name, placeholder])).toBe('placement_not_allowed')
    }
  })

  it('basic takes a value inside Basic credentials only', async () => {
    const value = canary('basic')
    const { placeholder } = await mount(value, { placements: ['basic'] })
    expect(await arrived('Authorization', basic(`git:${placeholder}`))).toEqual([basic(`git:${value}`)])
    rig.upstream.clear()
    await until(() => rig.upstream.sockets.size === 0)
    expect(await refusalOf('/', ['Authorization', `Bearer ${placeholder}`])).toBe('placement_not_allowed')
  })

  it('query:<name> takes a value in that parameter, percent-encoded, and the rest stays', async () => {
    const value = `${canary('query')}&x=1#?/ %`
    const { placeholder } = await mount(value, { placements: ['query:key'] })
    await ask(`/a%2Fb?x=%20+&key=${placeholder}&key2=1&&y`, [])
    expect(rig.upstream.last.target).toBe(`/a%2Fb?x=%20+&key=${encodeURIComponent(value)}&key2=1&&y`)
    rig.upstream.clear()
    await until(() => rig.upstream.sockets.size === 0)
    for (const target of [`/?other=${placeholder}`, `/${placeholder}?key=1`, `/?key=1;${placeholder}=2`]) {
      expect(await refusalOf(target, [])).toBe('placement_not_allowed')
    }
  })

  it('query takes a value in any parameter', async () => {
    const value = canary('queries')
    const { placeholder } = await mount(value, { placements: ['query'], maxOccurrences: 2 })
    await ask(`/?a=${placeholder}&b=x${placeholder}y`, [])
    expect(rig.upstream.last.target).toBe(`/?a=${value}&b=x${value}y`)
  })

  it('path takes a value in a segment, percent-encoded', async () => {
    const value = `${canary('path')}:a/../b?c`
    const { placeholder } = await mount(value, { placements: ['path'] })
    await ask(`/bot${placeholder}/send%2F?q=1`, [])
    expect(rig.upstream.last.target).toBe(`/bot${encodeURIComponent(value)}/send%2F?q=1`)
    const event = await until(async () =>
      (await rig.events()).find((e) => e.kind === 'exchange' && e.path?.includes('/bot')),
    )
    expect(event).toMatchObject({ path: `/bot${placeholder}/send%2F`, decision: 'released' })
  })
})

describe('values', () => {
  it('of several secrets go out together, each in its place', async () => {
    const [one, two] = [canary('one'), canary('two')]
    const first = await mount(one, { placements: ['query', 'header'] })
    const second = await mount(two)
    const target = `/?a=${first.placeholder}`
    const fields = [
      'Authorization',
      basic(`${first.placeholder}:${second.placeholder}`),
      'X-Api-Key',
      rig.secret.placeholder,
    ]
    expect((await ask(target, fields)).status).toBe(200)
    expect(rig.upstream.last.target).toBe(`/?a=${one}`)
    expect(rig.upstream.last.headers.authorization).toBe(basic(`${one}:${two}`))
    expect(rig.upstream.last.headers['x-api-key']).toBe(rig.value)
    const release = (await rig.events()).findLast((event) => event.kind === 'release')
    expect(release?.secrets.map((each) => [each.name, each.placement])).toEqual(
      expect.arrayContaining([
        [first.name, 'query:a'],
        [first.name, 'basic'],
        [second.name, 'basic'],
        ['openai', 'header:x-api-key'],
      ]),
    )
  })

  it('one of which is refused let none go', async () => {
    const fields = ['Authorization', `Bearer ${rig.secret.placeholder}`, 'Cookie', rig.secret.placeholder]
    expect(await refusalOf('/', fields)).toBe('placement_not_allowed')
  })

  it('go out dressed as they are, not as their placeholder was dressed', async () => {
    const value = canary('dressed')
    const { placeholder } = await mount(value, { dress: 'sk-ant-' })
    expect(placeholder).toMatch(/^sk-ant-xcoat_/)
    expect(await arrived('Authorization', `Bearer ${placeholder}`)).toEqual([`Bearer ${value}`])
    expect(await arrived('Authorization', basic(`:${placeholder}`))).toEqual([basic(`:${value}`)])
  })

  it.each(["$& $1 $$ $` $' $<a>", '\\0 \\1 %s %d', '{{x}} ${x}', 'sk-"quoted\'" <>&'])(
    'are put in byte for byte: %s',
    async (value) => {
      const { placeholder } = await mount(value)
      const bytes = Buffer.from(value, 'utf8').toString('latin1')
      expect(await arrived('X-Api-Key', `<${placeholder}>`)).toEqual([`<${bytes}>`])
    },
  )

  it('that look like the rest of a placeholder are not looked at again', async () => {
    const tail = rig.secret.placeholder.slice('xcoat'.length)
    const { placeholder } = await mount('xcoat')
    const [sent] = await arrived('X-Api-Key', `${placeholder}${tail} ${rig.secret.placeholder}`)
    expect(sent).toBe(`xcoat${tail} ${rig.value}`)
  })

  it('that a place cannot hold are refused there', async () => {
    const { placeholder } = await mount('user:name', { placements: ['basic'] })
    expect(await refusalOf('/', ['Authorization', basic(`${placeholder}:password`)])).toBe('value_not_placeable')
    const dots = await mount('..', { placements: ['path'] })
    expect(await refusalOf(`/a/${dots.placeholder}/b`, [])).toBe('value_not_placeable')
  })

  it('are not put where a placeholder is cut, changed or in another case', async () => {
    const { placeholder } = rig.secret
    for (const text of [placeholder.slice(0, -1), placeholder.toUpperCase(), `xcoat-${placeholder.slice(6)}`]) {
      expect(await arrived('X-Api-Key', text)).toEqual([text])
    }
  })
})
