/* What the client was asked to do; client.c says what each option means. Ends the program on a wrong one. */
#ifndef OPTIONS_H
#define OPTIONS_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mode { KEEP_ALIVE, NEW, HOLD };

static struct {
  const char *target, *ca, *proxy, *path;
  char connect_header[1024], headers[8192];
  enum mode mode;
  int connections;
  double secs, warm;
  uint64_t count, upload;
} options = {.path = "/", .connections = 1, .secs = 3, .warm = 0.5};

static void add_line(char *to, size_t room, const char *line) {
  size_t length = strlen(to);
  snprintf(to + length, room - length, "%s\r\n", line);
}

static void read_options(int count, char **arguments) {
  for (int i = 1; i + 1 < count; i += 2) {
    const char *name = arguments[i], *value = arguments[i + 1];
    if (!strcmp(name, "--target")) options.target = value;
    else if (!strcmp(name, "--ca")) options.ca = value;
    else if (!strcmp(name, "--proxy")) options.proxy = value;
    else if (!strcmp(name, "--path")) options.path = value;
    else if (!strcmp(name, "--connections")) options.connections = atoi(value);
    else if (!strcmp(name, "--secs")) options.secs = atof(value);
    else if (!strcmp(name, "--warm")) options.warm = atof(value);
    else if (!strcmp(name, "--count")) options.count = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--upload")) options.upload = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--header")) add_line(options.headers, sizeof options.headers, value);
    else if (!strcmp(name, "--connect-header")) add_line(options.connect_header, sizeof options.connect_header, value);
    else if (!strcmp(name, "--mode")) options.mode = !strcmp(value, "new") ? NEW : !strcmp(value, "idle") ? HOLD : KEEP_ALIVE;
    else fprintf(stderr, "client: unknown option %s\n", name), exit(2);
  }
  if (options.target && options.ca) return;
  fprintf(stderr, "client: --target and --ca are needed\n");
  exit(2);
}

#endif
