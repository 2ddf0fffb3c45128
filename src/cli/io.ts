/** What a command may touch of the process that runs it, and what the program gives it. */
import type { Readable, Writable } from 'node:stream'
import type { Transport } from './transport.ts'

/** Standard input; on a terminal it can be switched to raw mode, so that it does not echo. */
export type CliInput = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown }

export interface CliIo {
  readonly stdin: CliInput
  readonly stdout: Writable
  readonly stderr: Writable
  readonly env: Readonly<Record<string, string | undefined>>
  /** Standard output is a terminal. */
  readonly isTty: boolean
  /** Ends commands that would go on for ever, such as `audit tail`. */
  readonly signal?: AbortSignal
}

export interface LocalOptions {
  /** Path of the settings file; without it the customary places are looked at. */
  readonly config?: string
}

export interface RunOptions extends LocalOptions {
  /** Each `ENV=SECRET` or `ENV=SECRET@HOST,HOST`. */
  readonly mounts: readonly string[]
  readonly command: readonly string[]
}

/** Where things are according to the settings; nothing of it needs to exist. */
export interface Locations {
  readonly dataDir: string
  readonly apiUrl: string
  /** The exported certificate of the authority. */
  readonly caFile: string
  /** What a client's environment holds when it is set up, as far as it is the same for every sandbox. */
  readonly clientEnvironment: Readonly<Record<string, string>>
}

/** What a backup or its restoration did. */
export interface BackupDone {
  /** Names of what is in it. */
  readonly files: readonly string[]
  readonly bytes: number
}

/** An opened data directory: the API's calls, and what no server offers. */
export interface LocalTransport extends Transport {
  /** Into a new file. */
  backup(file: string, passphrase: string): Promise<BackupDone>
  rotateKeyring(): Promise<{ readonly keyId: string; readonly rewrapped: number }>
}

/** Given by the composition root: commands import nothing of the server. */
export interface CliDeps {
  readonly version: string
  /** Opens the data directory itself; calls are made as its owner. */
  openLocal(options: LocalOptions): Promise<LocalTransport>
  /** Fills the data directory, which must be absent or empty, from a backup. */
  restore(options: LocalOptions, file: string, passphrase: string): Promise<BackupDone>
  /** Reads the settings; creates and opens nothing. */
  locate(options: LocalOptions): Promise<Locations>
  serve(options: LocalOptions, io: CliIo): Promise<number>
  run(options: RunOptions, io: CliIo): Promise<number>
  demo(options: LocalOptions, io: CliIo): Promise<number>
}
