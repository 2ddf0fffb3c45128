/** Options of every route whose answer holds a value: no HEAD, which would record and count a read that gives nothing. */
export const VALUE_ROUTE = { exposeHeadRoute: false } as const
