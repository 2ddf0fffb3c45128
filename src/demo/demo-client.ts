/** The demo's sandbox: a real child process that has only its environment, with curl where there is one. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

export interface ChildAnswer {
  /** As a person would type it. */
  readonly command: string
  readonly status: number
  readonly body: string
  /** Everything it printed. */
  readonly output: string
}

/** The same request for machines without curl; Node reads the proxy and the authority from its environment. */
const FETCH = `
const [url, authorization] = process.argv.slice(1)
const answer = await fetch(url, { headers: { authorization } })
process.stdout.write((await answer.text()) + '\\n' + answer.status)
`

const TIMEOUT_MS = 10_000

async function hasCurl(): Promise<boolean> {
  return await execute('curl', ['--version'], { timeout: TIMEOUT_MS }).then(
    () => true,
    () => false,
  )
}

/** Sends a request with `Authorization: Bearer $KEY`, KEY being what the environment holds under that name. */
export async function requestFromChild(
  url: string,
  variable: string,
  env: Record<string, string>,
): Promise<ChildAnswer> {
  const authorization = `Bearer ${env[variable]}`
  const curl = await hasCurl()
  const program = curl ? 'curl' : process.execPath
  const args = curl
    ? [
        '--silent',
        '--show-error',
        '--max-time',
        '10',
        '--write-out',
        '\\n%{http_code}',
        '--header',
        `Authorization: ${authorization}`,
        url,
      ]
    : ['--input-type=module', '--eval', FETCH, url, authorization]
  const { stdout, stderr } = await execute(program, args, { env, timeout: TIMEOUT_MS })
  const split = stdout.lastIndexOf('\n')
  return {
    command: `${curl ? 'curl' : 'fetch'} ${url} -H "Authorization: Bearer $${variable}"`,
    status: Number(stdout.slice(split + 1)),
    body: stdout.slice(0, split).trim(),
    output: stdout + stderr,
  }
}
