/**
 * Answers that open something (a value, a token): the fields that do are read by name and are in nothing else. They are not enumerable,
 * so inspect, logs, JSON, spread and Object.keys leave them out.
 */

/** The document with these fields concealed. */
export function concealed<T extends object>(document: T, fields: readonly (keyof T & string)[]): T {
  const shown = { ...document }
  for (const field of fields) {
    const value = document[field]
    Object.defineProperty(shown, field, { get: () => value, enumerable: false, configurable: false })
  }
  return shown
}
