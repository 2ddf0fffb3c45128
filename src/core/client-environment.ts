/**
 * The one truth about the environment variables that make a client use the proxy and trust the authority.
 *
 * Variables that add to a client's trust point at our certificate; variables that replace its trust store point at
 * the merged bundle (system + authority), so that hosts in passthrough keep working.
 */

/** Where a sandbox reaches its own local servers: never through the proxy, which refuses loopback anyway. */
export const LOOPBACK_NO_PROXY = 'localhost,127.0.0.1,::1'

/** Opens the trust store; not a secret: Java's customary one, which keys its integrity check. */
export const JAVA_TRUST_STORE_PASSWORD = 'changeit'

/** Clients add the certificates in this file to the ones they trust. */
const ADDING = ['NODE_EXTRA_CA_CERTS'] as const

/** Clients trust the certificates in this file and no others. */
const REPLACING = [
  'SSL_CERT_FILE',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'PIP_CERT',
  'AWS_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'CARGO_HTTP_CAINFO',
  'DENO_CERT',
  'npm_config_cafile',
  'NIX_SSL_CERT_FILE',
  'HTTPLIB2_CA_CERTS',
  'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
  'CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE',
] as const

/** Files as the client sees them; an omitted one leaves out the variables that would name it. */
export interface ClientTrust {
  /** PEM of the authority's certificate alone. */
  readonly caFile?: string
  /** PEM of the system's certificates and the authority's. */
  readonly bundleFile?: string
  /** PKCS#12 of the same, for Java. */
  readonly javaTrustStoreFile?: string
}

export interface ClientEnvironmentInput extends ClientTrust {
  /** With the sandbox's name and token: `http://name:token@host:port`. */
  readonly proxyUrl: string
  /** Hosts reached without the proxy, comma-separated; '' for none. Overrides what the client would inherit. */
  readonly noProxy: string
}

/** Environment variable name -> value. A variable that is not ours to set is absent. */
export function clientEnvironment(input: ClientEnvironmentInput): Record<string, string> {
  return {
    ...bothCases('HTTP_PROXY', input.proxyUrl),
    ...bothCases('HTTPS_PROXY', input.proxyUrl),
    ...bothCases('ALL_PROXY', input.proxyUrl),
    ...bothCases('NO_PROXY', input.noProxy),
    NODE_USE_ENV_PROXY: '1',
    ...pointing(ADDING, input.caFile),
    ...pointing(REPLACING, input.bundleFile),
    JAVA_TOOL_OPTIONS: javaOptions(input),
  }
}

/** The proxy's URL with a sandbox's credentials in it. `proxyUrl` is an absolute URL; without a token only the name is in it. */
export function proxyUrlFor(proxyUrl: string, sandbox: string, token?: string): string {
  const credentials = [sandbox, ...(token === undefined ? [] : [token])].map(encodeURIComponent).join(':')
  return proxyUrl.replace(/^([a-z]+:\/\/)/i, (scheme) => `${scheme}${credentials}@`).replace(/\/$/, '')
}

function bothCases(name: string, value: string): Record<string, string> {
  return { [name]: value, [name.toLowerCase()]: value }
}

function pointing(names: readonly string[], file: string | undefined): Record<string, string> {
  if (file === undefined) return {}
  return Object.fromEntries(names.map((name) => [name, file]))
}

/**
 * Java reads none of the variables above. Its own properties know host and port, but the JDK has none for credentials,
 * and every JVM prints this variable when it starts: the token stays out of it. A program proves itself with an
 * Authenticator, for which Basic must be allowed on CONNECT (JDK 8u111), or the listener is bound to one sandbox.
 */
function javaOptions({ proxyUrl, noProxy, javaTrustStoreFile }: ClientEnvironmentInput): string {
  const { hostname, port } = new URL(proxyUrl)
  const proxied = ['http', 'https'].flatMap((scheme) => [
    `-D${scheme}.proxyHost=${hostname}`,
    `-D${scheme}.proxyPort=${port === '' ? '80' : port}`,
  ])
  const options = [
    ...proxied,
    `-Dhttp.nonProxyHosts=${javaHosts(noProxy)}`,
    '-Djdk.http.auth.tunneling.disabledSchemes=',
    ...(javaTrustStoreFile === undefined ? [] : javaTrust(javaTrustStoreFile)),
  ]
  // The JVM splits at white space outside quotes.
  return options.map((option) => (/\s/.test(option) ? `"${option}"` : option)).join(' ')
}

function javaTrust(file: string): string[] {
  return [
    `-Djavax.net.ssl.trustStore=${file}`,
    '-Djavax.net.ssl.trustStoreType=PKCS12',
    `-Djavax.net.ssl.trustStorePassword=${JAVA_TRUST_STORE_PASSWORD}`,
  ]
}

/** NO_PROXY as Java writes it: `|` between names, `*` before a suffix, brackets around IPv6. */
function javaHosts(noProxy: string): string {
  const hosts = noProxy.split(',').map((host) => host.trim())
  return hosts.map((host) => host.replace(/^\./, '*.').replace(/^(.*:.*)$/, '[$1]')).join('|')
}
