/** What requests end at: a small JSON document over TLS, and a sink for large bodies, each a process of its own. */
import type { CertificateFiles } from './certificates.ts'
import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import { originConfiguration, startNginx } from './nginx.ts'
import type { Tools } from './tools.ts'

export interface Origins {
  readonly smallPort: number
  readonly sinkPort: number
  readonly small: Child
  readonly sink: Child
  readonly program: 'nginx' | 'sink'
  stop(): Promise<void>
}

const JSON_TEXT = '{"object":"list","data":[{"id":"model-1","object":"model"},{"id":"model-2","object":"model"}]}'

export async function startOrigins(dir: string, tools: Tools, files: CertificateFiles): Promise<Origins> {
  const [smallPort, sinkPort] = (await freePorts(2)) as [number, number]
  const sink = await startSink(tools, files, sinkPort)
  try {
    const small = tools.nginx
      ? await startNginx({
          dir,
          name: 'origin',
          measured: false,
          ports: [smallPort],
          http: originConfiguration(smallPort, files, JSON_TEXT),
        })
      : await startSink(tools, files, smallPort)
    const stop = async () => {
      await Promise.all([small.stop(), sink.stop()])
    }
    return { smallPort, sinkPort, small, sink, program: tools.nginx ? 'nginx' : 'sink', stop }
  } catch (error) {
    await sink.stop()
    throw error
  }
}

async function startSink(tools: Tools, files: CertificateFiles, port: number): Promise<Child> {
  const command: [string, ...string[]] = [
    ...tools.sink,
    '--port',
    String(port),
    '--cert',
    files.cert,
    '--key',
    files.key,
  ]
  const child = Child.start({ command, measured: false })
  await child.listening(port)
  return child
}
