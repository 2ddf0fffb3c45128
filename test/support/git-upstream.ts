/** A real smart-HTTP Git server for an upstream: `git http-backend` as CGI, behind Basic credentials that are checked. */
import { execFile, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { bare } from './client-sandbox.ts'

const execute = promisify(execFile)

export class GitUpstream {
  readonly root: string
  readonly #authorization: string

  private constructor(root: string, authorization: string) {
    this.root = root
    this.#authorization = authorization
  }

  /** With one repository, `coats.git`, of one commit. @param authorization the only accepted header. */
  static async create(authorization: string): Promise<GitUpstream> {
    const root = await mkdtemp(join(tmpdir(), 'coatcheck-git-'))
    const upstream = new GitUpstream(root, authorization)
    await upstream.git(['init', '--quiet', '--bare', '--initial-branch=main', 'coats.git'])
    await upstream.git(['-C', 'coats.git', 'config', 'http.receivepack', 'true'])
    const commit = ['commit', '--quiet', '--allow-empty', '-m', 'Open the coat check']
    await upstream.git(['clone', '--quiet', 'coats.git', 'first'])
    await upstream.git(['-C', 'first', ...AUTHOR, ...commit])
    await upstream.git(['-C', 'first', 'push', '--quiet', 'origin', 'HEAD:main'])
    return upstream
  }

  /** Runs git next to the repository; its standard output. */
  async git(args: readonly string[]): Promise<string> {
    return (await execute('git', args, { cwd: this.root, env: bare(this.root) })).stdout
  }

  readonly answer: RequestListener = (request, response) => {
    if (request.headers.authorization === this.#authorization) {
      this.#run(request, response)
      return
    }
    request.resume()
    response.writeHead(401, { 'www-authenticate': 'Basic realm="coats"' }).end()
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true })
  }

  #run(request: IncomingMessage, response: ServerResponse): void {
    const child = spawn('git', ['http-backend'], { env: this.#environment(request), stdio: ['pipe', 'pipe', 'ignore'] })
    child.stdin.on('error', () => undefined)
    request.pipe(child.stdin)
    let head = Buffer.alloc(0)
    const read = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      child.stdout.off('data', read)
      start(response, head.subarray(0, end).toString('latin1'))
      response.write(head.subarray(end + 4))
      child.stdout.pipe(response)
    }
    child.stdout.on('data', read)
  }

  /** RFC 3875, as far as git-http-backend reads it. */
  #environment(request: IncomingMessage): Record<string, string> {
    const { pathname, search } = new URL(request.url ?? '/', 'http://upstream')
    return {
      ...bare(this.root),
      GIT_PROJECT_ROOT: this.root,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method ?? '',
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REMOTE_USER: 'user',
      ...variable('CONTENT_TYPE', request.headers['content-type']),
      ...variable('CONTENT_LENGTH', request.headers['content-length']),
      ...variable('HTTP_CONTENT_ENCODING', request.headers['content-encoding']),
      ...variable('GIT_PROTOCOL', request.headers['git-protocol'] as string | undefined),
    }
  }
}

/** Identity and nothing else of this machine's configuration. */
export const AUTHOR = ['-c', 'user.name=Test', '-c', 'user.email=test@example.com'] as const

function variable(name: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [name]: value }
}

function start(response: ServerResponse, head: string): void {
  const fields = head.split('\r\n').map((line) => line.split(/: */, 2) as [string, string])
  const status = fields.find(([name]) => name.toLowerCase() === 'status')?.[1] ?? '200'
  response.writeHead(
    Number.parseInt(status, 10),
    Object.fromEntries(fields.filter(([name]) => name.toLowerCase() !== 'status')),
  )
}
