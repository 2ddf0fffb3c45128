/**
 * Contract: real clients that trust the authority accept its leaves, by name and by address, with an empty subject and a
 * critical subjectAltName, and refuse a leaf that is for another host. One that does not trust the authority refuses all.
 */
import { writeFile } from 'node:fs/promises'
import { get } from 'node:https'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Authority } from '../../src/authority/authority.ts'
import { LeafCache } from '../../src/authority/leaf-cache.ts'
import { javaTrustStore } from '../../src/authority/trust-store.ts'
import { has, type Outcome, run, serveTls, temporaryDirectory } from './setting.ts'

interface Origin {
  readonly dir: string
  readonly caFile: string
  readonly authority: Authority
  readonly port: number
}

/** An origin on 127.0.0.1 whose leaf is for `host`. */
async function originFor(host: string, handler?: Parameters<typeof serveTls>[1]): Promise<Origin> {
  const dir = await temporaryDirectory()
  const authority = await Authority.open({ dir, exportDir: dir, clock: Date.now })
  const leaves = new LeafCache({ authority, clock: Date.now })
  const port = await serveTls(await leaves.contextFor(host), handler)
  return { dir, caFile: join(dir, 'coatcheck-ca.pem'), authority, port }
}

/** How a client asks `https://<host>:<port>/`, where host resolves to 127.0.0.1, trusting the authority or its own roots. */
type Ask = (host: string, origin: Origin, trusting: boolean) => Promise<Outcome>

function itBehaves(ask: Ask, verdict: RegExp): void {
  it.each(['localhost', '127.0.0.1'])('accepts a leaf for %s', async (host) => {
    expect(await ask(host, await originFor(host), true)).toMatchObject({ code: 0, stdout: 'hello' })
  })

  it.each([
    ['localhost', 'other.test'],
    ['127.0.0.1', '127.0.0.2'],
  ])('refuses, as %s, a leaf for %s', async (host, other) => {
    const { code, stdout } = await ask(host, await originFor(other), true)
    expect({ failed: code !== 0, stdout }).toEqual({ failed: true, stdout: '' })
  })

  it('refuses a leaf when it does not trust the authority, and says that', async () => {
    const { code, stdout, stderr } = await ask('localhost', await originFor('localhost'), false)
    expect({ failed: code !== 0, stdout }).toEqual({ failed: true, stdout: '' })
    expect(stderr).toMatch(verdict)
  })
}

describe.skipIf(!has('curl'))('curl (skipped where there is none)', () => {
  itBehaves(
    (host, { caFile, port }, trusting) =>
      run('curl', ['-sS', '--noproxy', '*', ...(trusting ? ['--cacert', caFile] : []), `https://${host}:${port}/`]),
    /self-signed certificate|unable to get local issuer|unknown CA/i,
  )
})

describe.skipIf(!has('wget'))('wget (skipped where there is none)', () => {
  itBehaves(
    (host, { caFile, port }, trusting) =>
      run('wget', [
        '-qO-',
        '--tries=1',
        ...(trusting ? [`--ca-certificate=${caFile}`] : []),
        `https://${host}:${port}/`,
      ]).then(
        // -q keeps wget from saying why.
        (outcome) => ({ ...outcome, stderr: outcome.code === 5 ? 'TLS verification failed' : outcome.stderr }),
      ),
    /TLS verification failed/,
  )
})

describe('Node', () => {
  itBehaves(
    (host, { authority, port }, trusting) =>
      new Promise<Outcome>((resolve) => {
        const ca = trusting ? { ca: authority.certificatePem } : {}
        get(
          { host: '127.0.0.1', servername: host === 'localhost' ? host : '', port, headers: { host }, ...ca },
          (response) => {
            let stdout = ''
            response.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk))
            response.on('end', () => resolve({ code: 0, stdout, stderr: '' }))
          },
        ).on('error', (error) => resolve({ code: 1, stdout: '', stderr: error.message }))
      }),
    /self-signed certificate in certificate chain/,
  )
})

const PYTHON = `
import http.client, ssl, sys
host, port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca or None)
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # the defaults of Python 3.13
connection = http.client.HTTPSConnection(host, int(port), context=context)
connection.request("GET", "/")
sys.stdout.write(connection.getresponse().read().decode())
`

describe.skipIf(!has('python3'))('Python with strict X.509 (skipped where there is no python3)', () => {
  itBehaves(
    (host, { caFile, port }, trusting) => run('python3', ['-c', PYTHON, host, String(port), trusting ? caFile : '']),
    /self-signed certificate in certificate chain/,
  )
})

describe.skipIf(!has('git'))('git (skipped where there is none)', () => {
  const HEAD = '0123456789abcdef0123456789abcdef01234567'
  const env = { GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' }

  it.each(['localhost', '127.0.0.1'])('lists what a repository behind a leaf for %s has', async (host) => {
    const { caFile, port } = await originFor(host, (request, response) => {
      response.end(request.url?.startsWith('/info/refs') ? `${HEAD}\trefs/heads/main\n` : 'ref: refs/heads/main\n')
    })
    const args = ['-c', `http.sslCAInfo=${caFile}`, 'ls-remote', `https://${host}:${port}/`]
    expect(await run('git', args, { env })).toMatchObject({ code: 0, stdout: expect.stringContaining(HEAD) as string })
  })

  it('refuses a leaf for another host', async () => {
    const { caFile, port } = await originFor('other.test')
    const args = ['-c', `http.sslCAInfo=${caFile}`, 'ls-remote', `https://localhost:${port}/`]
    const { code, stderr } = await run('git', args, { env })
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/certificate/)
  })
})

const JAVA = `
import java.net.*; import javax.net.ssl.*;
public class Get {
  public static void main(String[] arguments) throws Exception {
    var connection = (HttpsURLConnection) URI.create(arguments[0]).toURL().openConnection(Proxy.NO_PROXY);
    connection.getInputStream().transferTo(System.out);
  }
}
`

describe.skipIf(!has('javac', '-version'))('Java with a trust store of ours (skipped where there is no JDK)', () => {
  itBehaves(async (host, { authority, dir, port }, trusting) => {
    await writeFile(join(dir, 'Get.java'), JAVA)
    await writeFile(join(dir, 'trust.p12'), javaTrustStore([authority.certificatePem], 'changeit'))
    const trust = [`-Djavax.net.ssl.trustStore=${dir}/trust.p12`, '-Djavax.net.ssl.trustStorePassword=changeit']
    return run('java', [...(trusting ? trust : []), join(dir, 'Get.java'), `https://${host}:${port}/`])
  }, /PKIX path building failed/)
})

const GO = `package main

import ("crypto/tls"; "crypto/x509"; "fmt"; "io"; "os")

func main() {
	pool := x509.NewCertPool()
	pem, _ := os.ReadFile(os.Args[3])
	pool.AppendCertsFromPEM(pem)
	connection, err := tls.Dial("tcp", os.Args[1]+":"+os.Args[2], &tls.Config{RootCAs: pool})
	if err != nil { fmt.Fprint(os.Stderr, err); os.Exit(1) }
	fmt.Fprintf(connection, "GET / HTTP/1.0\\r\\n\\r\\n")
	answer, _ := io.ReadAll(connection)
	os.Stdout.Write(answer[len(answer)-5:])
}
`

describe.skipIf(!has('go', 'version'))('Go (skipped where there is none)', () => {
  it('accepts leaves by name and by address, and refuses those for others', async () => {
    const dir = await temporaryDirectory()
    await writeFile(join(dir, 'get.go'), GO)
    const env = { GOTOOLCHAIN: 'local', GOPROXY: 'off', GO111MODULE: 'off' }
    expect(await run('go', ['build', '-o', join(dir, 'get'), join(dir, 'get.go')], { env })).toMatchObject({ code: 0 })
    const ask = async (host: string, leaf: string) => {
      const { caFile, port } = await originFor(leaf)
      return run(join(dir, 'get'), [host, String(port), caFile])
    }
    expect(await ask('localhost', 'localhost')).toMatchObject({ code: 0, stdout: 'hello' })
    expect(await ask('127.0.0.1', '127.0.0.1')).toMatchObject({ code: 0, stdout: 'hello' })
    expect((await ask('localhost', 'other.test')).stderr).toMatch(/certificate is valid for other\.test, not localhost/)
    expect((await ask('127.0.0.1', '127.0.0.2')).stderr).toMatch(/certificate is valid for 127\.0\.0\.2/)
    // The first build on a machine compiles crypto/tls.
  }, 180_000)
})
