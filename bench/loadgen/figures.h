/* The course of a run and its figures: times of single requests are kept whole, so that percentiles are exact. */
#ifndef FIGURES_H
#define FIGURES_H
#include "options.h"
#include <time.h>

struct samples {
  uint32_t *values; /* microseconds */
  size_t count, room;
};

static struct {
  struct samples requests, handshakes;
  uint64_t total, measured, started, errors, refused, payload;
  double since, warm_until, until;
  int measuring, open;
  char first_error[256];
} run;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static int is_over(void) { return options.count ? run.started >= options.count : now() >= run.until; }

static void add_sample(struct samples *s, double seconds) {
  if (s->count == s->room) {
    s->room = s->room ? s->room * 2 : 65536;
    s->values = realloc(s->values, s->room * sizeof *s->values);
  }
  s->values[s->count++] = seconds > 4000 ? 4000000000u : (uint32_t)(seconds * 1e6);
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static double percentile_ms(struct samples *s, double share) {
  if (s->count == 0) return 0;
  qsort(s->values, s->count, sizeof *s->values, ascending);
  return s->values[(size_t)(share * (s->count - 1) + .5)] / 1000.0;
}

static void count_request(double asked_at) {
  double t = now();
  if (!run.measuring && t >= run.warm_until) {
    run.measuring = 1;
    run.since = t;
    run.requests.count = run.handshakes.count = 0;
    run.measured = run.payload = 0;
  }
  run.total++;
  run.measured++;
  add_sample(&run.requests, t - asked_at);
}

/* Quotes, backslashes and control characters would break the JSON line. */
static void note_error(const char *what, const char *detail) {
  if (run.first_error[0]) return;
  snprintf(run.first_error, sizeof run.first_error, "%s: %.160s", what, detail);
  for (char *p = run.first_error; *p; p++)
    if (*p < 32 || *p == '"' || *p == '\\') *p = ' ';
}

static void print_figures(void) {
  double seconds = now() - run.since;
  printf("{\"total\":%llu,\"perSecond\":%.1f,\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"handshakeP50Ms\":%.3f,"
         "\"seconds\":%.3f,\"bytes\":%llu,\"open\":%d,\"errors\":%llu,\"refused\":%llu,\"firstError\":\"%s\"}\n",
         (unsigned long long)run.total, run.measured / seconds, percentile_ms(&run.requests, .5),
         percentile_ms(&run.requests, .99), percentile_ms(&run.handshakes, .5), seconds,
         (unsigned long long)(run.payload + options.upload * run.measured), run.open, (unsigned long long)run.errors,
         (unsigned long long)run.refused, run.first_error);
  fflush(stdout);
}

#endif
