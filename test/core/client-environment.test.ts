/** Contract: every variable that a client reads, pointing where that client needs it to, and none that names a missing file. */
import { describe, expect, it } from 'vitest'
import { clientEnvironment, proxyUrlFor } from '../../src/core/client-environment.ts'

const proxyUrl = 'http://agent:token@127.0.0.1:8080'
const java = [
  '-Dhttp.proxyHost=127.0.0.1',
  '-Dhttp.proxyPort=8080',
  '-Dhttps.proxyHost=127.0.0.1',
  '-Dhttps.proxyPort=8080',
  '-Dhttp.nonProxyHosts=localhost',
  '-Djdk.http.auth.tunneling.disabledSchemes=',
].join(' ')

describe('clientEnvironment', () => {
  it('sets proxy variables in both cases and nothing of trust without files', () => {
    expect(clientEnvironment({ proxyUrl, noProxy: 'localhost' })).toEqual({
      HTTP_PROXY: proxyUrl,
      http_proxy: proxyUrl,
      HTTPS_PROXY: proxyUrl,
      https_proxy: proxyUrl,
      ALL_PROXY: proxyUrl,
      all_proxy: proxyUrl,
      NO_PROXY: 'localhost',
      no_proxy: 'localhost',
      NODE_USE_ENV_PROXY: '1',
      JAVA_TOOL_OPTIONS: java,
    })
  })

  it('adds our certificate where it is added, and the bundle where it replaces the system store', () => {
    const env = clientEnvironment({ proxyUrl, noProxy: '', caFile: '/ca.pem', bundleFile: '/bundle.pem' })
    expect(Object.keys(env).filter((name) => env[name] === '/ca.pem')).toEqual(['NODE_EXTRA_CA_CERTS'])
    expect(Object.keys(env).filter((name) => env[name] === '/bundle.pem')).toEqual([
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
    ])
  })

  it('points Java at its trust store, quoted where the path has a space', () => {
    const options = (javaTrustStoreFile: string) =>
      clientEnvironment({ proxyUrl, noProxy: 'localhost', javaTrustStoreFile })['JAVA_TOOL_OPTIONS']
    expect(options('/a/t.p12')).toBe(
      `${java} -Djavax.net.ssl.trustStore=/a/t.p12 -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=changeit`,
    )
    expect(options('/a b/t.p12')).toContain(' "-Djavax.net.ssl.trustStore=/a b/t.p12" ')
  })

  it('tells Java the proxy and the exceptions in its own words, and no credentials: a JVM prints them', () => {
    const options = (url: string, noProxy: string) => clientEnvironment({ proxyUrl: url, noProxy })['JAVA_TOOL_OPTIONS']
    expect(options(proxyUrl, '')).not.toContain('token')
    expect(options('http://[::1]', 'localhost, 127.0.0.1,::1,.corp.test')).toBe(
      [
        '-Dhttp.proxyHost=[::1]',
        '-Dhttp.proxyPort=80',
        '-Dhttps.proxyHost=[::1]',
        '-Dhttps.proxyPort=80',
        '-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]|*.corp.test',
        '-Djdk.http.auth.tunneling.disabledSchemes=',
      ].join(' '),
    )
  })
})

describe('proxyUrlFor', () => {
  it('puts name and token in, encoded, and no token where there is none', () => {
    expect(proxyUrlFor('http://127.0.0.1:8080', 'agent', 'tok')).toBe('http://agent:tok@127.0.0.1:8080')
    expect(proxyUrlFor('http://[::1]:8080/', 'a b@c', '$&:/')).toBe('http://a%20b%40c:%24%26%3A%2F@[::1]:8080')
    expect(proxyUrlFor('http://127.0.0.1:8080', 'agent')).toBe('http://agent@127.0.0.1:8080')
  })
})
