/*
 * An HTTPS origin for large bodies: GET /bytes/N answers with N bytes, anything else is read to its end and answered
 * with "ok". One thread, epoll, constant memory.
 *
 *   sink --port P --cert FILE --key FILE
 */
#define _GNU_SOURCE
#include "framing.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 65536

enum stage { HANDSHAKE, HEAD, BODY, ANSWER };

struct peer {
  int fd;
  SSL *ssl;
  enum stage stage;
  uint32_t events;
  struct framing framing;
  int in_length;
  int head_length, head_sent;
  uint64_t to_send; /* of the answer's body */
  char head[256];
  char in[BUFFER];
};

static int poller;
static char filler[BUFFER];

static void watch(struct peer *p, uint32_t events) {
  if (p->events == events) return;
  struct epoll_event event = {.events = events, .data.ptr = p};
  epoll_ctl(poller, p->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p->fd, &event);
  p->events = events;
}

static void drop(struct peer *p) {
  ERR_clear_error();
  SSL_free(p->ssl);
  close(p->fd);
  free(p);
}

/* Waits for the socket or, when the connection is over, forgets it; either way this turn ends. */
static void wait_or_drop(struct peer *p, int result) {
  int error = SSL_get_error(p->ssl, result);
  if (error == SSL_ERROR_WANT_READ) watch(p, EPOLLIN);
  else if (error == SSL_ERROR_WANT_WRITE) watch(p, EPOLLOUT);
  else drop(p);
}

static void begin_answer(struct peer *p, int head_length) {
  unsigned long long bytes = 0;
  int wanted = sscanf(p->in, "GET /bytes/%llu", &bytes) == 1;
  p->to_send = wanted ? bytes : 0;
  p->head_sent = 0;
  p->head_length = wanted
    ? snprintf(p->head, sizeof p->head,
               "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %llu\r\n\r\n", bytes)
    : snprintf(p->head, sizeof p->head, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n");
  memmove(p->in, p->in + head_length, p->in_length - head_length);
  p->in_length -= head_length;
  p->stage = p->framing.chunked || p->framing.length > 0 ? BODY : ANSWER;
}

/* Each step returns 1 to go on and 0 when this turn is over. */
static int read_more(struct peer *p) {
  int result = SSL_read(p->ssl, p->in + p->in_length, BUFFER - 1 - p->in_length);
  if (result <= 0) return wait_or_drop(p, result), 0;
  p->in_length += result;
  p->in[p->in_length] = 0;
  return 1;
}

static int step_body(struct peer *p) {
  if (p->in_length == 0 && !read_more(p)) return 0;
  int complete;
  uint64_t payload = 0;
  int eaten = eat_body(&p->framing, p->in, p->in_length, &complete, &payload);
  memmove(p->in, p->in + eaten, p->in_length - eaten);
  p->in_length -= eaten;
  if (complete) p->stage = ANSWER;
  return 1;
}

static int step_answer(struct peer *p) {
  if (p->head_sent < p->head_length) {
    int result = SSL_write(p->ssl, p->head + p->head_sent, p->head_length - p->head_sent);
    if (result <= 0) return wait_or_drop(p, result), 0;
    p->head_sent += result;
    return 1;
  }
  if (p->to_send > 0) {
    int result = SSL_write(p->ssl, filler, p->to_send > BUFFER ? BUFFER : p->to_send);
    if (result <= 0) return wait_or_drop(p, result), 0;
    p->to_send -= result;
    return 1;
  }
  if (p->framing.close) return SSL_shutdown(p->ssl), drop(p), 0;
  p->stage = HEAD;
  return 1;
}

static int step(struct peer *p) {
  if (p->stage == HANDSHAKE) {
    int result = SSL_do_handshake(p->ssl);
    if (result != 1) return wait_or_drop(p, result), 0;
    p->stage = HEAD;
    return 1;
  }
  if (p->stage == HEAD) {
    int head_length = p->in_length > 0 ? read_head(&p->framing, p->in, p->in_length) : 0;
    if (head_length == 0) return read_more(p);
    begin_answer(p, head_length);
    return 1;
  }
  return p->stage == BODY ? step_body(p) : step_answer(p);
}

static void accept_all(int listener, SSL_CTX *context) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct peer *p = calloc(1, sizeof *p);
    p->fd = fd;
    p->ssl = SSL_new(context);
    SSL_set_fd(p->ssl, fd);
    SSL_set_accept_state(p->ssl);
    watch(p, EPOLLIN);
  }
}

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  if (bind(fd, (void *)&address, sizeof address) || listen(fd, 1024)) return perror("listen"), -1;
  return fd;
}

int main(int count, char **arguments) {
  int port = 0;
  const char *cert = "", *key = "";
  for (int i = 1; i + 1 < count; i += 2) {
    if (!strcmp(arguments[i], "--port")) port = atoi(arguments[i + 1]);
    else if (!strcmp(arguments[i], "--cert")) cert = arguments[i + 1];
    else if (!strcmp(arguments[i], "--key")) key = arguments[i + 1];
  }
  signal(SIGPIPE, SIG_IGN);
  memset(filler, 'x', sizeof filler);
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(context, cert) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
    return fprintf(stderr, "sink: no usable certificate\n"), 1;
  int listener = listen_on(port);
  if (listener < 0) return 1;
  poller = epoll_create1(0);
  struct epoll_event accepts = {.events = EPOLLIN}, events[256];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &accepts);
  for (;;) {
    int ready = epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      struct peer *p = events[i].data.ptr;
      if (p == NULL) accept_all(listener, context);
      else while (step(p));
    }
  }
}
