/*
 * The load: keep-alive requests (ka), a connection for each request (new), or connections that stay open after one
 * request (idle), over TLS, straight to an origin or through a CONNECT proxy. One thread, epoll. Prints one JSON line;
 * with --mode idle it then holds the connections until its standard input ends.
 *
 *   client --target HOST:PORT --ca FILE [--proxy ADDRESS:PORT] [--connect-header 'K: V'] [--mode ka|new|idle]
 *          [--connections N] [--secs S] [--warm S] [--count N] [--path P] [--header 'K: V']... [--upload BYTES]
 *
 * HOST is a name for SNI, verification and Host; without --proxy the connection goes to 127.0.0.1. With --count the
 * run ends after that many requests, else after --warm and --secs; figures are of the time after --warm.
 */
#define _GNU_SOURCE
#include "figures.h"
#include "framing.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 262144
#define UPLOAD_CHUNK 65536
#define MAX_ERRORS 200

enum stage { TCP, CONNECT_ANSWER, HANDSHAKE, REQUEST, HEAD, BODY, IDLE, CLOSED };

struct connection {
  int fd;
  enum stage stage;
  uint32_t events;
  SSL *ssl;
  char *in;
  int in_length;
  size_t sent;
  uint64_t uploaded;
  struct framing framing;
  double opened_at, asked_at;
};

static int poller;
static SSL_CTX *context;
static struct sockaddr_in address;
static char host[256], request[16384], connect_request[2048], upload_chunk[UPLOAD_CHUNK];
static size_t request_length;

static void open_connection(struct connection *c);

static void watch(struct connection *c, uint32_t events) {
  if (c->events == events) return;
  struct epoll_event event = {.events = events, .data.ptr = c};
  epoll_ctl(poller, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event);
  c->events = events;
}

static void close_connection(struct connection *c) {
  if (c->ssl) SSL_free(c->ssl);
  c->ssl = NULL;
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->events = 0;
  c->stage = CLOSED;
  run.open--;
}

static void fail(struct connection *c, const char *what) {
  unsigned long tls = ERR_peek_error();
  char text[160];
  if (tls) ERR_error_string_n(tls, text, sizeof text);
  note_error(what, tls ? text : strerror(errno));
  ERR_clear_error();
  run.errors++;
  close_connection(c);
  if (run.errors < MAX_ERRORS && !is_over()) open_connection(c);
}

static void open_connection(struct connection *c) {
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (options.mode == NEW) { /* a reset at the end, so that no port waits */
    struct linger linger = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  c->opened_at = now();
  c->in_length = 0;
  c->stage = TCP;
  run.started++;
  run.open++;
  if (connect(c->fd, (void *)&address, sizeof address) < 0 && errno != EINPROGRESS) fail(c, "connect");
  else watch(c, EPOLLOUT);
}

static void begin_request(struct connection *c) {
  c->stage = REQUEST;
  c->sent = c->uploaded = 0;
  c->asked_at = now();
}

static void begin_tls(struct connection *c) {
  c->stage = HANDSHAKE;
  c->ssl = SSL_new(context);
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_tlsext_host_name(c->ssl, host);
  SSL_set1_host(c->ssl, host);
  SSL_set_connect_state(c->ssl);
}

/* After a TLS call: 0 when the socket has to be waited for, -1 when it failed, -2 when the peer ended the stream. */
static int tls_outcome(struct connection *c, int result) {
  int error = SSL_get_error(c->ssl, result);
  if (error == SSL_ERROR_WANT_READ) return watch(c, EPOLLIN), 0;
  if (error == SSL_ERROR_WANT_WRITE) return watch(c, EPOLLOUT), 0;
  return error == SSL_ERROR_ZERO_RETURN ? -2 : -1;
}

static void complete(struct connection *c) {
  count_request(c->asked_at);
  if (options.mode == HOLD) {
    c->stage = IDLE;
    watch(c, EPOLLIN);
  } else if (options.mode == NEW || c->framing.close) {
    close_connection(c);
    if (!is_over()) open_connection(c);
  } else if (options.count ? run.total >= options.count : is_over()) {
    close_connection(c);
  } else {
    begin_request(c);
  }
}

/* Every step below returns 1 to go on with the connection and 0 when it waits, failed or closed. */
static int step_tcp(struct connection *c) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) return errno = error, fail(c, "connect"), 0;
  if (options.proxy == NULL) return begin_tls(c), 1;
  int length = strlen(connect_request);
  if (send(c->fd, connect_request, length, MSG_NOSIGNAL) != length) return fail(c, "CONNECT"), 0;
  c->stage = CONNECT_ANSWER;
  watch(c, EPOLLIN);
  return 1;
}

/* Peeks, so that not a byte after the head is taken from TLS. */
static int step_connect_answer(struct connection *c) {
  ssize_t n = recv(c->fd, c->in, 4096, MSG_PEEK);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) return fail(c, "CONNECT answer"), 0;
  char *end = memmem(c->in, n, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  c->in[n] = 0;
  if (strncmp(c->in + 8, " 200", 4)) return note_error("CONNECT refused", c->in), fail(c, "CONNECT"), 0;
  recv(c->fd, c->in, end + 4 - c->in, 0);
  begin_tls(c);
  return 1;
}

static int step_handshake(struct connection *c) {
  int result = SSL_do_handshake(c->ssl);
  if (result != 1) {
    if (tls_outcome(c, result) != 0) fail(c, "handshake");
    return 0;
  }
  add_sample(&run.handshakes, now() - c->opened_at);
  begin_request(c);
  return 1;
}

static int step_request(struct connection *c) {
  int in_head = c->sent < request_length;
  if (!in_head && c->uploaded >= options.upload) {
    c->stage = HEAD;
    c->in_length = 0;
    return 1;
  }
  uint64_t left = options.upload - c->uploaded;
  int result = in_head ? SSL_write(c->ssl, request + c->sent, request_length - c->sent)
                       : SSL_write(c->ssl, upload_chunk, left < UPLOAD_CHUNK ? left : UPLOAD_CHUNK);
  if (result <= 0) {
    if (tls_outcome(c, result) != 0) fail(c, "request");
    return 0;
  }
  if (in_head) c->sent += result;
  else c->uploaded += result;
  return 1;
}

static int step_head(struct connection *c) {
  int result = SSL_read(c->ssl, c->in + c->in_length, BUFFER - 1 - c->in_length);
  if (result <= 0) {
    if (tls_outcome(c, result) != 0) fail(c, "response head");
    return 0;
  }
  c->in_length += result;
  c->in[c->in_length] = 0;
  int head_length = read_head(&c->framing, c->in, c->in_length);
  if (head_length == 0) return 1;
  int status = atoi(c->in + 9), ended = c->framing.length == 0 && !c->framing.chunked;
  if (status < 200 || status > 299) run.refused++, note_error("status", c->in + 9);
  if (c->framing.length < 0 && !c->framing.chunked) c->framing.length = INT64_MAX, c->framing.close = 1;
  if (!ended) eat_body(&c->framing, c->in + head_length, c->in_length - head_length, &ended, &run.payload);
  c->stage = BODY;
  if (ended) complete(c);
  return c->stage == REQUEST;
}

static int step_body(struct connection *c) {
  int result = SSL_read(c->ssl, c->in, BUFFER), ended;
  if (result <= 0) {
    int outcome = tls_outcome(c, result);
    if (outcome == -2 && c->framing.close && !c->framing.chunked) return complete(c), c->stage == REQUEST;
    if (outcome != 0) fail(c, "response body");
    return 0;
  }
  eat_body(&c->framing, c->in, result, &ended, &run.payload);
  if (ended) complete(c);
  return c->stage == REQUEST;
}

static int step(struct connection *c) {
  switch (c->stage) {
    case TCP: return step_tcp(c);
    case CONNECT_ANSWER: return step_connect_answer(c);
    case HANDSHAKE: return step_handshake(c);
    case REQUEST: return step_request(c);
    case HEAD: return step_head(c);
    case BODY: return step_body(c);
    case IDLE: return fail(c, "closed while idle"), 0;
    default: return 0;
  }
}

static void resolve(const char *address_and_port) {
  char ip[64];
  const char *colon = strrchr(address_and_port, ':');
  snprintf(ip, sizeof ip, "%.*s", (int)(colon - address_and_port), address_and_port);
  address.sin_family = AF_INET;
  address.sin_port = htons(atoi(colon + 1));
  inet_pton(AF_INET, ip, &address.sin_addr);
}

static void prepare(void) {
  const char *colon = strrchr(options.target, ':');
  char framing[64] = "", direct[32];
  snprintf(host, sizeof host, "%.*s", (int)(colon - options.target), options.target);
  snprintf(direct, sizeof direct, "127.0.0.1%s", colon);
  resolve(options.proxy ? options.proxy : direct);
  if (options.upload) snprintf(framing, sizeof framing, "Content-Length: %llu\r\n", (unsigned long long)options.upload);
  request_length = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n%s%s\r\n",
                            options.upload ? "POST" : "GET", options.path, options.target, framing, options.headers);
  snprintf(connect_request, sizeof connect_request, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", options.target,
           options.target, options.connect_header);
  memset(upload_chunk, 'u', sizeof upload_chunk);
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x08http/1.1", 9);
  if (!SSL_CTX_load_verify_locations(context, options.ca, NULL)) fprintf(stderr, "client: no usable CA\n"), exit(2);
}

/* One at a time, so that a thousand handshakes do not time out in a queue. */
static void open_one(struct connection *c) {
  open_connection(c);
  while (options.mode == HOLD && c->stage != IDLE && c->stage != CLOSED) {
    struct epoll_event event[16];
    int ready = epoll_wait(poller, event, 16, 5000);
    if (ready <= 0) return fail(c, "opening");
    for (int i = 0; i < ready; i++) while (step(event[i].data.ptr));
  }
  if (options.mode == HOLD) c->in = realloc(c->in, 4097);
}

int main(int count, char **arguments) {
  read_options(count, arguments);
  signal(SIGPIPE, SIG_IGN);
  prepare();
  poller = epoll_create1(0);
  run.since = now();
  run.measuring = options.count > 0;
  run.warm_until = run.since + options.warm;
  run.until = run.warm_until + options.secs;
  struct connection *connections = calloc(options.connections, sizeof *connections);
  for (int i = 0; i < options.connections; i++) {
    connections[i].in = malloc(BUFFER + 1);
    open_one(&connections[i]);
  }
  struct epoll_event events[256];
  while (options.mode != HOLD && run.open > 0 && run.errors < MAX_ERRORS) {
    int ready = epoll_wait(poller, events, 256, 1000);
    for (int i = 0; i < ready; i++) while (step(events[i].data.ptr));
    if (!options.count && now() > run.until + 0.2) break;
  }
  print_figures();
  char byte;
  while (options.mode == HOLD && read(0, &byte, 1) > 0);
  return 0;
}
