/** A package registry for an upstream: one package, `coats`, as npm and as pip ask for it, behind one accepted header. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

interface Served {
  readonly type: string
  readonly body: string | Buffer
}

/** Answers what `files` holds by path; everything else is 404, and everybody else 401. */
function registry(authorization: string, files: ReadonlyMap<string, Served>): RequestListener {
  return (request, response) => {
    request.resume()
    if (request.headers.authorization !== authorization) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="packages"' }).end()
      return
    }
    const served = files.get(request.url ?? '')
    if (served === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': served.type }).end(served.body)
  }
}

/** @param url where the registry is reached, without a final slash. */
export async function npmRegistry(url: string, authorization: string): Promise<RequestListener> {
  const manifest = { name: 'coats', version: '1.0.0', main: 'coats.js' }
  const tarball = await packed({
    'package/package.json': JSON.stringify(manifest),
    'package/coats.js': 'module.exports = 1\n',
  })
  const dist = { tarball: `${url}/coats/-/coats-1.0.0.tgz` }
  const document = { name: 'coats', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { ...manifest, dist } } }
  return registry(
    authorization,
    new Map([
      ['/coats', { type: 'application/json', body: JSON.stringify(document) }],
      ['/coats/-/coats-1.0.0.tgz', { type: 'application/octet-stream', body: tarball }],
    ]),
  )
}

/** The simple repository API (PEP 503) with one wheel. */
export async function pythonIndex(authorization: string): Promise<RequestListener> {
  const name = 'coats-1.0-py3-none-any.whl'
  const page = `<!DOCTYPE html><html><body><a href="/files/${name}">${name}</a></body></html>`
  return registry(
    authorization,
    new Map([
      ['/simple/coats/', { type: 'text/html', body: page }],
      [`/files/${name}`, { type: 'application/octet-stream', body: await wheel() }],
    ]),
  )
}

async function packed(files: Readonly<Record<string, string>>): Promise<Buffer> {
  return await inFolder(async (folder) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(folder, path, '..'), { recursive: true })
      await writeFile(join(folder, path), text)
    }
    await execute('tar', ['-czf', 'packed.tgz', ...Object.keys(files)], { cwd: folder })
    return await readFile(join(folder, 'packed.tgz'))
  })
}

const WHEEL = `
import zipfile
with zipfile.ZipFile("coats.whl", "w") as wheel:
    wheel.writestr("coats/__init__.py", "")
    wheel.writestr("coats-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: coats\\nVersion: 1.0\\n")
    wheel.writestr("coats-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("coats-1.0.dist-info/RECORD", "")
`

async function wheel(): Promise<Buffer> {
  return await inFolder(async (folder) => {
    await execute('python3', ['-c', WHEEL], { cwd: folder })
    return await readFile(join(folder, 'coats.whl'))
  })
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'coatcheck-package-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
