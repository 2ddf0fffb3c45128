/** Shell completion, written from the program itself: a command that exists completes, and nothing else does. */
import { Argument, type Command } from 'commander'
import type { Context } from './command.ts'
import { write } from './output.ts'

/** Command path, such as `secret create` ('' for the program), and the words that can follow it. */
type Candidates = ReadonlyMap<string, readonly string[]>

const SCRIPTS: Readonly<Record<string, (candidates: Candidates) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}

export function registerCompletion(program: Command, context: Context): void {
  program
    .command('completion')
    .description('print a completion script: eval "$(coatcheck completion bash)"')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SCRIPTS)))
    .action(async (shell: string) => {
      await write(context.io.stdout, SCRIPTS[shell]?.(candidatesOf(program)) ?? '')
    })
}

/** Words are our own names: letters, digits and dashes, which no shell interprets. */
function candidatesOf(program: Command): Candidates {
  const found = new Map<string, readonly string[]>()
  const visit = (command: Command, path: readonly string[]): void => {
    const options = command.options.map((option) => option.long ?? '').filter((long) => long !== '')
    found.set(path.join(' '), [...command.commands.map((child) => child.name()), ...options, '--help'])
    for (const child of command.commands) visit(child, [...path, child.name()])
  }
  visit(program, [])
  return found
}

/** The longest known path among the words before the cursor decides what can follow. */
function bashScript(candidates: Candidates): string {
  return `_coatcheck() {
  local path="" word candidates
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${casesFor(candidates, (path) => `path="${path}"`)}
    esac
  done
  case "$path" in
${wordsFor(candidates)}
  esac
  COMPREPLY=($(compgen -W "$candidates" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _coatcheck coatcheck
`
}

function zshScript(candidates: Candidates): string {
  return `#compdef coatcheck
_coatcheck() {
  local path_="" word candidates
  for word in "\${words[@]:1:$((CURRENT-2))}"; do
    case "$path_ $word" in
${casesFor(candidates, (path) => `path_="${path}"`)}
    esac
  done
  case "$path_" in
${wordsFor(candidates)}
  esac
  compadd -- \${=candidates}
}
compdef _coatcheck coatcheck
`
}

function fishScript(candidates: Candidates): string {
  const lines = [...candidates].flatMap(([path, words]) => {
    const steps = path.split(' ').filter((step) => step !== '')
    const seen = steps.map((step) => `__fish_seen_subcommand_from ${step}`)
    const children = words.filter((word) => !word.startsWith('--'))
    const unseen = children.length === 0 ? [] : [`not __fish_seen_subcommand_from ${children.join(' ')}`]
    const condition = [...seen, ...unseen].join('; and ')
    return words.map((word) => {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`
      return `complete -c coatcheck -n '${condition}' ${what}`
    })
  })
  return `complete -c coatcheck -f\n${lines.join('\n')}\n`
}

/** One `case` arm for each step from a command to one below it. */
function casesFor(candidates: Candidates, then: (path: string) => string): string {
  const paths = [...candidates.keys()].filter((path) => path !== '')
  return paths
    .map((path) => {
      const steps = path.split(' ')
      return `      "${steps.slice(0, -1).join(' ')} ${steps.at(-1) ?? ''}") ${then(path)} ;;`
    })
    .join('\n')
}

function wordsFor(candidates: Candidates): string {
  return [...candidates].map(([path, words]) => `    "${path}") candidates="${words.join(' ')}" ;;`).join('\n')
}
