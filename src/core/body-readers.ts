/** Which reader follows which media type, and what a value may look like where there is nothing to follow. */
import type { BodyMedia } from './body-media.ts'
import type { BodyPlace, PlaceReader } from './body-place.ts'
import { closed, SamePlace } from './body-place.ts'
import type { Writing } from './body-value.ts'
import { writePlain, writeRaw, writeText } from './body-value.ts'
import { FormReader } from './form-body.ts'
import { JsonReader } from './json-body.ts'
import { MultipartReader } from './multipart-body.ts'
import { XmlReader } from './xml-body.ts'

/** A fresh reader, for one body. */
export function placeReader(media: BodyMedia): PlaceReader {
  switch (media.kind) {
    case 'json':
      return new JsonReader()
    case 'form':
      return new FormReader()
    case 'multipart':
      return new MultipartReader(media.boundary, media.named, placeReader)
    case 'xml':
      return new XmlReader()
    case 'text':
      return new SamePlace(everywhere(writeRaw))
    case 'code':
      return new SamePlace(everywhere(writePlain))
    case 'message':
      return new SamePlace(everywhere(writeText))
    case 'unknown':
      return new SamePlace(closed('media'))
  }
}

function everywhere(write: Writing): BodyPlace {
  return { open: true, selector: null, write, literal: Number.POSITIVE_INFINITY }
}
