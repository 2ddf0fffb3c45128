/** The figures for people: a table for each phase, ratios with their spread, the measured value behind each. */
import { isRatio, type PhaseTable, type Spread } from './ratios.ts'

const HEADINGS: Readonly<Record<string, string>> = {
  idle: 'idle tunnels, after one request each',
  down: 'one large download',
  up: 'one large upload',
  ka1: 'keep-alive requests, 1 connection',
  ka32: 'keep-alive requests, 32 connections',
  new: 'new connections (CONNECT where there is one, handshake, one request)',
}

export function formatTables(
  ratios: Readonly<Record<string, PhaseTable>>,
  measured: Readonly<Record<string, PhaseTable>>,
): string {
  return Object.keys(measured)
    .map((phase) => formatTable(HEADINGS[phase] ?? phase, ratios[phase] ?? {}, measured[phase] ?? {}))
    .join('\n')
}

function formatTable(heading: string, ratios: PhaseTable, measured: PhaseTable): string {
  const figures = [...new Set(Object.values(measured).flatMap((row) => Object.keys(row)))]
  const lines = Object.entries(measured).map(([subject, row]) => [
    subject,
    ...figures.map((figure) => cell(figure, row[figure], ratios[subject]?.[figure])),
  ])
  return `\n${heading}\n${columns([['', ...figures], ...lines])}\n`
}

function cell(figure: string, measured: Spread | undefined, ratio: Spread | undefined): string {
  if (measured === undefined) return '-'
  const value = short(measured.median)
  if (!isRatio(figure) || ratio === undefined) return value
  const spread = ratio.min === ratio.max ? '' : ` ${short(ratio.min)}-${short(ratio.max)}`
  return `${short(ratio.median)}x${spread} (${value})`
}

export function short(value: number): string {
  const magnitude = Math.abs(value)
  return value.toFixed(magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2)
}

export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_none, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((text, at) => text.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
