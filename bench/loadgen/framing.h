/*
 * How an HTTP/1.1 message is framed, for both ends of the load generator: reads a head, then says where the body ends.
 * It trusts what it reads; it is for servers and proxies that one measures, on loopback.
 */
#ifndef FRAMING_H
#define FRAMING_H

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct framing {
  int64_t length; /* of the body still to come; -1 when the head does not say */
  int chunked;
  int close;
  enum chunk_state state;
  int64_t left; /* of the chunk */
  int in_text;  /* past the size of a chunk's first line, or within a trailer field */
};

static int starts_with(const char *line, const char *end, const char *name) {
  size_t length = strlen(name);
  return (size_t)(end - line) >= length && strncasecmp(line, name, length) == 0;
}

/* Length of the head, or 0 when it is not complete yet. */
static int read_head(struct framing *f, const char *bytes, int n) {
  const char *end = memmem(bytes, n, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  memset(f, 0, sizeof *f);
  f->length = -1;
  const char *line = (const char *)memmem(bytes, n, "\r\n", 2) + 2;
  while (line < end + 2) {
    const char *stop = memmem(line, end + 2 - line, "\r\n", 2);
    if (stop == NULL) break;
    if (starts_with(line, stop, "content-length:")) f->length = strtoll(line + 15, NULL, 10);
    else if (starts_with(line, stop, "transfer-encoding:")) f->chunked = memmem(line, stop - line, "chunked", 7) != NULL;
    else if (starts_with(line, stop, "connection:")) f->close = memmem(line, stop - line, "close", 5) != NULL;
    line = stop + 2;
  }
  return end + 4 - bytes;
}

static int hex_digit(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

/* Bytes that belong to the body, at most n; *payload grows by those that are content, *complete is set at its end. */
static int eat_chunked(struct framing *f, const char *bytes, int n, int *complete, uint64_t *payload) {
  int i = 0;
  *complete = 0;
  while (i < n) {
    if (f->state == CHUNK_DATA) {
      int64_t part = n - i < f->left ? n - i : f->left;
      i += part;
      f->left -= part;
      *payload += part;
      if (f->left == 0) f->state = CHUNK_END;
      continue;
    }
    char c = bytes[i++];
    if (f->state == CHUNK_SIZE) {
      if (c == '\n') f->state = f->left == 0 ? CHUNK_TRAILER : CHUNK_DATA, f->in_text = 0;
      else if (!f->in_text && isxdigit((unsigned char)c)) f->left = f->left * 16 + hex_digit(c);
      else if (c != '\r') f->in_text = 1;
    } else if (f->state == CHUNK_END) {
      if (c == '\n') f->state = CHUNK_SIZE, f->left = 0, f->in_text = 0;
    } else if (c == '\n') {
      if (!f->in_text) {
        *complete = 1;
        return i;
      }
      f->in_text = 0;
    } else if (c != '\r') {
      f->in_text = 1;
    }
  }
  return i;
}

/* As eat_chunked, for any framing. */
static int eat_body(struct framing *f, const char *bytes, int n, int *complete, uint64_t *payload) {
  if (f->chunked) return eat_chunked(f, bytes, n, complete, payload);
  int part = f->length < n ? f->length : n;
  f->length -= part;
  *payload += part;
  *complete = f->length <= 0;
  return part;
}

#endif
