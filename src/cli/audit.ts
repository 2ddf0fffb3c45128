/** `coatcheck audit`: reads the log and checks its chain; nothing here can change it. */
import { promises as timers } from 'node:timers'
import type { Command } from 'commander'
import type { AuditEventDocument, CheckpointDocument, VerifyDocument } from '../api/contract/audit.ts'
import { AUDIT_HEADINGS, auditRow } from './audit-row.ts'
import { type CommonOptions, type Context, inSession, withScopeOptions } from './command.ts'
import { EXIT, usage } from './failure.ts'
import { neutralise, note, printJson, printJsonLine, printLine, printTable, write } from './output.ts'
import { type Query, type Session, withQuery } from './session.ts'
import { parsePast } from './when.ts'

interface FilterOptions extends CommonOptions {
  readonly sandbox?: string
  readonly secret?: string
  readonly host?: string
  readonly decision?: string
  readonly action?: string
  readonly principal?: string
  readonly since?: string
  readonly until?: string
  readonly limit?: string
}

const EVENTS = '/v1/audit/events'
const POLL_MS = 1000
/** Events between two looks before `tail` says that it skipped some. */
const MAX_BEHIND = 2000

export function registerAudit(program: Command, context: Context): void {
  const group = program.command('audit').description('the log of exchanges, releases and changes')
  const command = (name: string, description: string) => withScopeOptions(group.command(name).description(description))

  withFilters(command('list', 'show events, newest first'))
    .option('--limit <n>', 'how many events', '50')
    .action((options: FilterOptions) => list(context, options))
  withFilters(command('tail', 'show new events as they happen'))
    .option('--limit <n>', 'how many events from before', '10')
    .action((options: FilterOptions) => tail(context, options))
  command('verify', 'check every chain and checkpoint from the beginning').action((options: CommonOptions) =>
    verify(context, options),
  )
  command('checkpoints', 'list the signed checkpoints, newest first').action((options: CommonOptions) =>
    checkpoints(context, options),
  )
  withFilters(command('export', 'print all events, newest first, one JSON document on each line')).action(
    (options: FilterOptions) => exportAll(context, options),
  )
}

function withFilters(command: Command): Command {
  return command
    .option('--sandbox <name>', 'only this sandbox')
    .option('--secret <name>', 'only events that name this secret')
    .option('--host <host>', 'only this host')
    .option('--decision <decision>', 'released, refused, withheld, passed, failed, tunnelled')
    .option('--action <action>', 'only this kind of change, such as secret.read')
    .option('--principal <name>', 'only changes made by this one, as events name it')
    .option('--since <when>', '1h, 7d, or a time')
    .option('--until <when>', '1h, 7d, or a time')
}

async function list(context: Context, options: FilterOptions): Promise<void> {
  const limit = limitOf(options)
  const query = queryOf(options, context.now)
  await inSession(context, options, async (session) => {
    const items = await newest(session, query, limit)
    if (options.json === true) return await printJson(context.io, { items, nextCursor: null })
    await printTable(context.io, AUDIT_HEADINGS, items.map(auditRow), 'There are no events.')
  })
}

/** A stream where there is one, and a look every second where there is none or it broke; both go on after the last event printed. */
async function tail(context: Context, options: FilterOptions): Promise<void> {
  const limit = limitOf(options)
  const query = queryOf(options, context.now)
  const signal = context.io.signal ?? new AbortController().signal
  await inSession(context, options, async (session) => {
    let last: string | undefined
    for (let first = true; !signal.aborted; first = false) {
      // Opened before the look, so that nothing falls between them.
      const live = await session.streamed<AuditEventDocument>(withQuery(`${EVENTS}/stream`, query), signal)
      const fresh = first ? await newest(session, query, limit) : await since(context, session, query, last)
      last = (await printOldestFirst(context, options, fresh)) ?? last
      const printed = new Set(fresh.map(({ id }) => id))
      for await (const event of live ?? []) {
        if (!printed.has(event.id)) last = await printOldestFirst(context, options, [event])
      }
      await timers.setTimeout(POLL_MS, undefined, { signal }).catch(() => undefined)
    }
    return EXIT.done
  })
}

/** As `newerThan`, and says when it skipped some. */
async function since(
  { io }: Context,
  session: Session,
  query: Query,
  last: string | undefined,
): Promise<readonly AuditEventDocument[]> {
  const { fresh, skipped } = await newerThan(session, query, last)
  if (skipped) await note(io, `More than ${MAX_BEHIND} events at once: older ones are in audit list.`)
  return fresh
}

async function checkpoints(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const page = await session.all<CheckpointDocument>('/v1/audit/checkpoints')
    if (options.json === true) return await printJson(context.io, page)
    const rows = page.items.map(({ time, writer, seq, hash, keyId }) => [time, writer, String(seq), hash, keyId])
    const empty = 'There are no checkpoints yet.'
    await printTable(context.io, ['TIME', 'WRITER', 'UP TO', 'HASH', 'KEY'], rows, empty)
  })
}

async function verify(context: Context, options: CommonOptions): Promise<void> {
  await inSession(context, options, async (session) => {
    const report = await session.call<VerifyDocument>('GET', '/v1/audit/verify')
    const counted = `${report.events} events, ${report.writers} writers, ${report.checkpoints} checkpoints`
    if (options.json === true) await printJson(context.io, report)
    else if (report.ok) await printLine(context.io, `The audit log verifies: ${counted}.`)
    else {
      const at = report.firstBad
      const where = at === null ? '' : ` First bad event: writer ${at.writer}, seq ${at.seq}: ${at.reason}.`
      await note(context.io, `error: The audit log does not verify (${counted}).${where}`)
    }
    return report.ok ? EXIT.done : EXIT.failed
  })
}

async function exportAll(context: Context, options: FilterOptions): Promise<void> {
  const query = queryOf(options, context.now)
  await inSession(context, options, async (session) => {
    if (options.json === true) return await printJson(context.io, await session.all(EVENTS, query))
    for await (const page of session.pages<AuditEventDocument>(EVENTS, query)) {
      for (const event of page) await printJsonLine(context.io, event)
    }
  })
}

/** At most `limit` events, newest first. */
async function newest(session: Session, query: Query, limit: number): Promise<readonly AuditEventDocument[]> {
  const events: AuditEventDocument[] = []
  for await (const page of session.pages<AuditEventDocument>(EVENTS, { ...query, limit: Math.min(limit, 200) })) {
    events.push(...page)
    if (events.length >= limit) break
  }
  return events.slice(0, limit)
}

/** Events that came after the one with this id, newest first. */
async function newerThan(
  session: Session,
  query: Query,
  last: string | undefined,
): Promise<{ fresh: readonly AuditEventDocument[]; skipped: boolean }> {
  const fresh: AuditEventDocument[] = []
  for await (const page of session.pages<AuditEventDocument>(EVENTS, query)) {
    for (const event of page) {
      if (event.id === last) return { fresh, skipped: false }
      fresh.push(event)
    }
    if (fresh.length >= MAX_BEHIND) return { fresh, skipped: true }
  }
  return { fresh, skipped: false }
}

/** Prints, and returns the id of the newest event, if there was one. */
async function printOldestFirst(
  { io }: Context,
  options: CommonOptions,
  newestFirst: readonly AuditEventDocument[],
): Promise<string | undefined> {
  for (const event of newestFirst.toReversed()) {
    if (options.json === true) await printJsonLine(io, event)
    else await write(io.stdout, `${auditRow(event).map(neutralise).join('  ')}\n`)
  }
  return newestFirst[0]?.id
}

function queryOf(options: FilterOptions, now: number): Query {
  const { sandbox, secret, host, decision, action, principal, since, until } = options
  return {
    sandbox,
    secret,
    host,
    decision,
    action,
    principal,
    since: since === undefined ? undefined : parsePast(since, now, '--since'),
    until: until === undefined ? undefined : parsePast(until, now, '--until'),
  }
}

function limitOf(options: FilterOptions): number {
  const limit = Number(options.limit)
  if (Number.isSafeInteger(limit) && limit >= 1) return limit
  throw usage('--limit is not a number of events.', 'Write a whole number from 1.')
}
