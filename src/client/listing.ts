/**
 * A list that is fetched as it is read: `for await (const each of list)` goes from page to page, `await list` collects them all, and
 * `list.pages()` gives the pages. Nothing is asked for before.
 */
import type { PageOf } from '../api/contract.ts'

export class Listing<T, P extends PageOf<T> = PageOf<T>> implements Promise<readonly T[]>, AsyncIterable<T> {
  readonly [Symbol.toStringTag] = 'Listing'
  readonly #page: (cursor: string | undefined) => Promise<P>

  /** `page` fetches the page that the cursor names; undefined = the first. */
  constructor(page: (cursor: string | undefined) => Promise<P>) {
    this.#page = page
  }

  async *pages(): AsyncGenerator<P, void, undefined> {
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page: P = await this.#page(cursor)
      yield page
      cursor = page.nextCursor
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) yield* page.items
  }

  // oxlint-disable-next-line unicorn/no-thenable -- awaited, it is the whole list
  async then<A = readonly T[], B = never>(
    fulfilled?: ((items: readonly T[]) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return await this.#all().then(fulfilled, rejected)
  }

  async catch<B = never>(rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<readonly T[] | B> {
    return await this.#all().catch(rejected)
  }

  async finally(settled?: (() => void) | null): Promise<readonly T[]> {
    return await this.#all().finally(settled)
  }

  async #all(): Promise<readonly T[]> {
    const items: T[] = []
    for await (const page of this.pages()) items.push(...page.items)
    return items
  }
}
