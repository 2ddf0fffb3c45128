/** Names that are nearly those of settings, and COATCHECK_ variables that are no settings at all. */

/** Read by the command line (address and token of a server, which file to read), never by a running server. */
const COMMAND_LINE = new Set(['COATCHECK_CONFIG', 'COATCHECK_TOKEN', 'COATCHECK_URL'])

/**
 * Kubernetes sets these in every pod beside a service whose name begins with "coatcheck"
 * (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
 */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/
const SERVICE_URL = /^(tcp|udp|sctp):\/\//

/** True for a variable that begins with COATCHECK_ but is none of our settings, nor a misspelt one. */
export function isForeignVariable(name: string, value: string, keyringSource: string | undefined): boolean {
  if (COMMAND_LINE.has(name) || name === keyringSource?.replace(/^env:/, '')) return true
  return SERVICE_LINK.test(name) || (name.endsWith('_PORT') && SERVICE_URL.test(value))
}

/** The known name that was probably meant: alike but for a slip or two, or the same last word in another group. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, distance: unlikeness(name, candidate) }))
    .toSorted((a, b) => a.distance - b.distance)
  const [best] = ranked
  return best && best.distance <= Math.max(1, Math.floor(name.length / 5)) ? best.candidate : undefined
}

function unlikeness(name: string, candidate: string): number {
  const whole = editDistance(bare(name), bare(candidate))
  const last = editDistance(bare(lastWord(name)), bare(lastWord(candidate)))
  return Math.min(whole, last + (lastWord(name) === name ? 1 : 2))
}

function lastWord(name: string): string {
  return name.slice(Math.max(name.lastIndexOf('.'), name.lastIndexOf('_')) + 1)
}

/** `DATA_DIR`, `data-dir` and `dataDir` are alike. */
function bare(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
}

/** Levenshtein. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next[j] = Math.min(substituted, (row[j] as number) + 1, (next[j - 1] as number) + 1)
    }
    row = next
  }
  return row[b.length] as number
}
