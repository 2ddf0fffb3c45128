/** nginx in its two parts: the origin that answers, and the reverse proxy from TLS to TLS that is the measure. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type CertificateFiles, HOST } from './certificates.ts'
import { Child } from './child.ts'

export interface NginxOptions {
  readonly dir: string
  readonly name: string
  readonly measured: boolean
  readonly ports: readonly number[]
  /** The `http` part after what both share. */
  readonly http: string
}

/** One worker process, everything it writes inside `dir`, nothing logged for each request. */
export async function startNginx({ dir, name, measured, ports, http }: NginxOptions): Promise<Child> {
  const prefix = join(dir, name)
  await mkdir(prefix, { recursive: true })
  const file = join(prefix, 'nginx.conf')
  await writeFile(file, configuration(prefix, http))
  const command = ['nginx', '-p', prefix, '-c', file, '-e', join(prefix, 'error.log')] as const
  const child = Child.start({ command, measured })
  await child.listening(...ports)
  return child
}

function configuration(prefix: string, http: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${join(prefix, kind)};`)
    .join('\n')
  return `daemon off;
worker_processes 1;
pid ${join(prefix, 'nginx.pid')};
events { worker_connections 4096; }
http {
  access_log off;
${temporary}
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  tcp_nodelay on;
  ssl_session_tickets off;
${http}
}
`
}

function listen(port: number, { cert, key }: CertificateFiles): string {
  return `listen 127.0.0.1:${port} ssl; server_name ${HOST}; ssl_certificate ${cert}; ssl_certificate_key ${key};`
}

/** Answers everything with a small JSON document. */
export function originConfiguration(port: number, files: CertificateFiles, json: string): string {
  return `  server {
    ${listen(port, files)}
    location / { default_type application/json; return 200 '${json}'; }
  }`
}

export interface Route {
  readonly port: number
  readonly upstreamPort: number
}

/** Ends TLS, verifies and keeps the upstream connections, streams bodies both ways. */
export function reverseProxyConfiguration(routes: readonly Route[], files: CertificateFiles): string {
  return routes
    .map(
      ({ port, upstreamPort }) => `  upstream origin_${upstreamPort} {
    server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 100000000; keepalive_timeout 300s;
  }
  server {
    ${listen(port, files)}
    client_max_body_size 0;
    location / {
      proxy_pass https://origin_${upstreamPort};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host ${HOST}:${upstreamPort};
      proxy_ssl_verify on; proxy_ssl_trusted_certificate ${files.ca};
      proxy_ssl_name ${HOST}; proxy_ssl_server_name on;
      proxy_request_buffering off; proxy_max_temp_file_size 0;
    }
  }`,
    )
    .join('\n')
}
