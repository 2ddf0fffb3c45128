/** The types of node-forge's ASN.1 part, which are published only as a part of the whole. */
declare module 'node-forge/lib/asn1.js' {
  import type forge from 'node-forge'

  const asn1: typeof forge.asn1
  export default asn1
  export type Asn1 = forge.asn1.Asn1
}
