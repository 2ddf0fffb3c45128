/**
 * Which fields never stand in a trailer section (RFC 9110 6.5.1): what a recipient has to know before the content, to
 * frame, route, authenticate or understand the message. One that comes late is merged by some and overlooked by others.
 */
const NEVER_A_TRAILER = new Set([
  // who asks, and for what right
  'authorization',
  'cookie',
  'cookie2',
  'set-cookie',
  'set-cookie2',
  'www-authenticate',
  // modifiers of the request
  'accept',
  'a-im',
  'cache-control',
  'pragma',
  'prefer',
  // where it comes from, and which way
  'from',
  'origin',
  'referer',
  'x-real-ip',
  'x-rewrite-url',
  // control data of responses, which some intermediaries read wherever it stands
  'age',
  'date',
  'expires',
  'location',
  'retry-after',
  'vary',
  'warning',
])
/** The content's format, conditions, the route as hops before it told it, other methods than the request line's. */
const NEVER_A_TRAILER_FAMILIES = [
  'accept-',
  'access-control-',
  'content-',
  'if-',
  'proxy-',
  'sec-',
  'x-forwarded-',
  'x-http-method',
  'x-method',
  'x-original-',
]

/** Takes the name in lower case. What no header takes a value in is for the caller to know. */
export function mayBeTrailer(lowerName: string): boolean {
  if (NEVER_A_TRAILER.has(lowerName)) return false
  return !NEVER_A_TRAILER_FAMILIES.some((family) => lowerName.startsWith(family))
}
