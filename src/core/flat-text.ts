/**
 * The same text as one run of characters in memory. V8 keeps joined and cut strings as references to their parts, and
 * JSON.stringify takes three times as long for an object that has even one of those.
 */
export function flatText(text: string): string {
  return Buffer.from(text).toString()
}
