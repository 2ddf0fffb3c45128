/** A sandbox: a workload with an identity and a token, in one workspace. */

/** Who an exchange belongs to, once identified. */
export interface SandboxIdentity {
  readonly id: string
  readonly name: string
  readonly workspaceId: string
}

/** What the control plane shows of a sandbox. `mounts` maps environment variable name -> secret name. */
export interface Sandbox {
  readonly id: string
  readonly workspaceId: string
  readonly name: string
  readonly mounts: Readonly<Record<string, string>>
  /** Environment variable name -> what the workload gets: a placeholder, or one half of a pair. */
  readonly env: Readonly<Record<string, string>>
  readonly createdAt: string
  readonly updatedAt: string
}
