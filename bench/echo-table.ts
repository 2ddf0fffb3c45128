/** The outcome of an echo run as people read it, in Markdown; docs/limitations.md holds the same. */
import type { EchoTable, Outcome } from './echo-run.ts'

const SHOWN: Readonly<Record<Outcome, string>> = {
  masked: 'masked',
  shown: '**shown**',
  refused: 'refused',
  impossible: '–',
}

export function formatEcho({ forms, packed }: { readonly forms: EchoTable; readonly packed: EchoTable }): string {
  const held = forms.rows.filter(({ outcomes }) => outcomes.every((outcome) => outcome !== 'shown')).length
  const cells = forms.rows.flatMap(({ outcomes }) => outcomes).filter((outcome) => outcome !== 'impossible')
  const shown = cells.filter((outcome) => outcome === 'shown').length
  return [
    `${held} of ${forms.rows.length} forms are masked or refused wherever they stand; so are ${cells.length - shown} of ${cells.length} echoes.`,
    '',
    ...table('the value', forms),
    '',
    ...table('the body', packed),
  ].join('\n')
}

function table(first: string, { columns, rows }: EchoTable): string[] {
  return [
    `| ${[first, ...columns].join(' | ')} |`,
    `| ${[first, ...columns].map(() => '---').join(' | ')} |`,
    ...rows.map(({ name, outcomes }) => `| ${[name, ...outcomes.map((outcome) => SHOWN[outcome])].join(' | ')} |`),
  ]
}
