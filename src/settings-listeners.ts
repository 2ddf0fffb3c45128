/** What the settings of the listeners mean together: who would be which sandbox, and which of them nobody could use. */
import type { ListenAddress, SettingAt, SettingPath } from './settings.ts'
import type { Problem } from './settings-document.ts'
import { formatListen, isLoopback } from './settings-texts.ts'

/** A setting's value, or undefined when it was wrong in itself. */
export type Read = <P extends SettingPath>(path: P) => SettingAt<P> | undefined

export interface ListenerMistake extends Problem {
  readonly path: SettingPath
}

/** Every listener, the setting that says who connects to it, and what it is called in a mistake. */
const LISTENERS = [
  { listen: 'proxy.listen', identity: 'proxy.identity', name: 'the proxy' },
  { listen: 'api.listen', identity: null, name: 'the API' },
  { listen: 'gateway.listen', identity: 'gateway.identity', name: 'the gateway' },
  { listen: 'transparent.listenTls', identity: 'transparent.identity', name: 'transparent.listenTls' },
  { listen: 'transparent.listenHttp', identity: 'transparent.identity', name: 'transparent.listenHttp' },
  { listen: 'socks.listen', identity: 'socks.identity', name: 'the SOCKS listener' },
] as const

export function listenerMistakes(read: Read): readonly ListenerMistake[] {
  return [...openToEverybody(read), ...sharedAddresses(read), ...ofNoUse(read)]
}

function openToEverybody(read: Read): readonly ListenerMistake[] {
  const mistakes = new Map<SettingPath, ListenerMistake>()
  for (const { listen, identity: path } of LISTENERS) {
    const address = read(listen)
    const identity = path === null ? undefined : read(path)
    if (path === null || !address || identity?.kind !== 'sandbox' || isLoopback(address)) continue
    const other = path === 'transparent.identity' ? 'sources' : 'required'
    mistakes.set(path, {
      path,
      what: `everybody who can reach ${formatListen(address)} would be the sandbox ${identity.name}`,
      fix: `Write identity: ${other}, or listen on 127.0.0.1`,
    })
  }
  return [...mistakes.values()]
}

function sharedAddresses(read: Read): readonly ListenerMistake[] {
  const mistakes: ListenerMistake[] = []
  const taken = new Map<string, string>()
  for (const { listen, name } of LISTENERS) {
    const address: ListenAddress | null | undefined = read(listen)
    if (!address || address.port === 0) continue
    const text = formatListen(address)
    const owner = taken.get(text)
    if (owner === undefined) taken.set(text, name)
    else mistakes.push({ path: listen, what: `${text} is the address of ${owner} too`, fix: 'Give each its own port' })
  }
  return mistakes
}

function ofNoUse(read: Read): readonly ListenerMistake[] {
  const mistakes: ListenerMistake[] = []
  const isEmpty = (map: object | undefined) => map !== undefined && Object.keys(map).length === 0
  if (read('gateway.listen') && isEmpty(read('gateway.routes'))) {
    const fix = 'Write gateway.routes, such as { openai: https://api.openai.com }'
    mistakes.push({ path: 'gateway.listen', what: 'the gateway has no routes', fix })
  }
  const path = read('transparent.listenTls') ? 'transparent.listenTls' : 'transparent.listenHttp'
  if (read(path) && read('transparent.identity')?.kind === 'sources' && isEmpty(read('transparent.sources'))) {
    const fix = 'Write transparent.sources, such as { 10.1.2.0/24: NAME }, or transparent.identity: sandbox:NAME'
    mistakes.push({ path, what: 'nobody who is redirected would be a sandbox', fix })
  }
  return mistakes
}
