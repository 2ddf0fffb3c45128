import { describe, expect, it } from 'vitest'
import { type BodyMedia, mediaOf, mediaOfMessage } from '../../src/core/body-media.ts'
import { vectorRows } from './vector-rows.ts'

describe('what a Content-Type says of the places in a body', () => {
  const rows = vectorRows('bodies/media.json') as readonly { contentType: string; media: BodyMedia }[]

  it.each(rows)('"$contentType" is $media.kind', ({ contentType, media }) => {
    expect(mediaOf(contentType)).toEqual(media)
  })

  it('none is unknown', () => {
    expect(mediaOf(undefined)).toEqual({ kind: 'unknown' })
  })

  it('a message is JSON when it opens an object or array', () => {
    const kinds = ['{"a":1}', ' [1]', '42["a"]', '42', '"a"', 'a {', ''].map(
      (text) => mediaOfMessage(Buffer.from(text)).kind,
    )
    expect(kinds).toEqual(['json', 'json', 'json', 'message', 'message', 'message', 'message'])
  })
})
