/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sockets, TLS and time of the server's connections. */
#include "collector/net/conn.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/net/message.h"

#define ACCEPTS_PER_TURN 32 /* a handshake costs about 2 ms */
#define READS_PER_TURN   8
#define READ_SIZE        (16u << 10) /* one TLS record: nothing is left inside OpenSSL when epoll is asked again */
#define OUT_SIZE         (32u << 10)
#define WRITES_PER_TURN  16
#define TICK_MS          1000
#define BACKLOG          1024
#define UNACKED_MS       60000u
#define LINGER_MS        1000

void conn_mark_dirty(struct conn *c)
{
        if (c->dirty)
                return;
        c->dirty = true;
        c->next_dirty = c->server->dirty;
        c->server->dirty = c;
}

static bool is_stranger(const struct conn *c)
{
        return c->account == &c->server->strangers;
}

static void stranger_add(struct conn *c)
{
        TAILQ_INSERT_TAIL(&c->server->stranger_list, c, stranger);
        c->account = &c->server->strangers;
        c->account->n_connections++;
}

static void stranger_remove(struct conn *c)
{
        TAILQ_REMOVE(&c->server->stranger_list, c, stranger);
        c->account->n_connections--;
        c->account = NULL;
}

void conn_idle_from_now(struct conn *c)
{
        const struct http_config *config = c->server->config;
        bool anonymous = c->peer.state != TLS_PEER_GOOD && SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE;

        if (!c->closed && is_stranger(c)) {
                stranger_remove(c);
                stranger_add(c);
        }

        c->idle_deadline_ms =
                loop_now_ms(c->server->loop) + (anonymous ? config->anonymous_idle_ms : config->idle_ms);
}

/* The memory goes at the end of the turn. */
static void conn_close(struct conn *c, const char *why)
{
        if (c->closed)
                return;
        log_line(LOG_DEBUG, "%s: %s", c->server->config->name, why);
        c->closed = true;
        if (c->session)
                session_close(c);
        else if (!c->lingering)
                c->server->counters.not_secured++;
        loop_source_close(c->source);
        if (c->prev)
                c->prev->next = c->next;
        else
                c->server->connections = c->next;
        if (c->next)
                c->next->prev = c->prev;
        c->server->n_connections--;
        if (is_stranger(c))
                stranger_remove(c);
        else
                account_leave(&c->server->accounts, c->account);
        conn_mark_dirty(c);
}

static void conn_set_events(struct conn *c, uint32_t events)
{
        if (c->events == events)
                return;
        c->events = events;
        if (loop_source_modify(c->source, events) < 0)
                conn_close(c, "cannot be watched");
}

/* RFC 9112 9.6: what the peer still sends is read for a moment, else its system forgets what was said last. */
static void conn_linger(struct conn *c, const char *why)
{
        (void)SSL_shutdown(c->ssl); /* RFC 8446 6.1: close_notify, without waiting for the peer's */
        if (shutdown(SSL_get_fd(c->ssl), SHUT_WR) < 0 || c->server->stopping) {
                conn_close(c, why);
                return;
        }
        log_line(LOG_DEBUG, "%s: %s", c->server->config->name, why);
        session_close(c);
        buf_done(&c->out);
        c->lingering = true;
        c->stalled_ms = 0;
        c->idle_deadline_ms = loop_now_ms(c->server->loop) + LINGER_MS;
        conn_set_events(c, EPOLLIN);
}

static void conn_drain(struct conn *c)
{
        uint8_t data[READ_SIZE];
        ssize_t n = 1;

        for (unsigned i = 0; i < READS_PER_TURN && n > 0; i++)
                n = recv(SSL_get_fd(c->ssl), data, sizeof(data), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
                conn_close(c, "closed by the peer");
}

/* RFC 9113 5.4.1: says why, if the peer takes it at once. */
static void conn_end(struct conn *c, uint32_t error, const char *why)
{
        enum tls_want want;

        if (c->session && nghttp2_session_terminate_session(c->session, error) == 0 &&
            session_send(c, OUT_SIZE) == 0 && c->out.size > 0 &&
            tls_write(c->ssl, c->out.data, c->out.size, &want) > 0)
                conn_linger(c, why);
        else
                conn_close(c, why);
}

/* The device behind the connection is known now. */
static int conn_introduce(struct conn *c)
{
        struct http_server *s = c->server;
        struct account *a;
        struct conn *oldest = NULL;
        int r = account_join(&s->accounts, c->peer.name, loop_now_ms(s->loop), &a);

        if (r < 0)
                return r;
        stranger_remove(c);
        c->account = a;
        if (!account_is_crowded(a))
                return 0;
        for (struct conn *other = c->next; other; other = other->next) /* the newest is first */
                if (other->account == a)
                        oldest = other;
        if (oldest)
                conn_end(oldest, NGHTTP2_ENHANCE_YOUR_CALM, "too many connections of one device");
        return 0;
}

static void conn_free(struct conn *c)
{
        SSL_free(c->ssl);
        buf_done(&c->out);
        free(c);
}

static void conn_flush(struct conn *c)
{
        enum tls_want want = TLS_WRITE;
        bool more = false;
        int r = 1;

        for (unsigned i = 0; i < WRITES_PER_TURN && r > 0; i++) {
                if (session_send(c, OUT_SIZE) < 0) {
                        conn_close(c, "protocol error");
                        return;
                }
                more = c->out.size > 0;
                if (!more)
                        break;
                r = tls_write(c->ssl, c->out.data, c->out.size, &want);
                if (r > 0) {
                        buf_consume(&c->out, (size_t)r);
                        c->stalled_ms = 0;
                }
        }
        if (r == 0 || (r < 0 && r != -EAGAIN)) {
                conn_close(c, "cannot be written to");
                return;
        }
        if (c->out.size > 0) {
                if (!c->stalled_ms)
                        c->stalled_ms = loop_now_ms(c->server->loop);
        } else {
                buf_done(&c->out);
        }
        conn_set_events(c, EPOLLIN | (more && want == TLS_WRITE ? EPOLLOUT : 0));
        if (!c->closed && !more &&
            ((!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session)) ||
             (c->server->stopping && !c->requests)))
                conn_linger(c, "done");
}

static int conn_handshake(struct conn *c)
{
        enum tls_want want = TLS_READ;
        char text[256];
        int r = tls_handshake(c->ssl, &want);

        if (r == -EAGAIN) {
                conn_set_events(c, want == TLS_WRITE ? EPOLLOUT : EPOLLIN);
                return r;
        }
        if (r < 0) {
                conn_close(c, tls_error(text, sizeof(text)));
                return r;
        }
        tls_peer_get(c->ssl, &c->peer);
        c->idle_deadline_ms = loop_now_ms(c->server->loop) + c->server->config->headers_ms;
        r = c->peer.state == TLS_PEER_GOOD ? conn_introduce(c) : 0;
        if (r == 0)
                r = session_open(c);
        if (r < 0)
                conn_close(c, "no memory");
        return r;
}

static void conn_read(struct conn *c)
{
        uint8_t data[READ_SIZE];

        for (unsigned i = 0; i < READS_PER_TURN; i++) {
                enum tls_want want;
                int n = tls_read(c->ssl, data, sizeof(data), &want), r;

                if (n == -EAGAIN)
                        return;
                if (n <= 0) {
                        conn_close(c, n == 0 ? "closed by the peer" : "connection lost");
                        return;
                }
                r = session_receive(c, data, (size_t)n);
                if (r < 0) {
                        conn_end(c, r == -ENOBUFS ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
                                 r == -ENOBUFS ? "flood" : "protocol error");
                        return;
                }
        }
}

int conn_count_reset(struct conn *c)
{
        uint64_t now = loop_now_ms(c->server->loop);

        if (now - c->resets_since_ms > RESETS_MS) {
                c->resets_since_ms = now;
                c->resets = 0;
        }
        c->resets++;
        return 0;
}

static void conn_io(void *userdata, uint32_t events)
{
        struct conn *c = userdata;

        if (c->lingering) {
                conn_drain(c);
                return;
        }
        if (!c->session && conn_handshake(c) < 0)
                return;
        conn_read(c);
        if (!c->closed)
                conn_mark_dirty(c);
}

/* ---- the listener ---- */

static void server_pause(struct http_server *s, bool pause)
{
        if (s->paused != pause && s->listener && loop_source_modify(s->listener, pause ? 0 : EPOLLIN) == 0)
                s->paused = pause;
}

static void address_format(const struct sockaddr_storage *a, char *ret, size_t size)
{
        const void *bytes = a->ss_family == AF_INET ? (const void *)&((const struct sockaddr_in *)a)->sin_addr
                                                    : (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr;

        if (!inet_ntop(a->ss_family, bytes, ret, (socklen_t)size))
                snprintf(ret, size, "?");
        if (text_starts_with(ret, "::ffff:") && strchr(ret, '.'))
                memmove(ret, ret + 7, strlen(ret + 7) + 1);
}

static int conn_new(struct http_server *s, int fd, const struct sockaddr_storage *from)
{
        _cleanup_free_ struct conn *c = calloc(1, sizeof(*c));
        const int on = 1;
        const unsigned unacked_ms = UNACKED_MS;
        int r;

        if (!c)
                return -ENOMEM;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
        c->server = s;
        address_format(from, c->address, sizeof(c->address));
        c->ssl = SSL_new(s->tls);
        if (!c->ssl || SSL_set_fd(c->ssl, fd) != 1) {
                SSL_free(c->ssl);
                return -ENOMEM;
        }
        SSL_set_accept_state(c->ssl);
        c->events = EPOLLIN;
        c->idle_deadline_ms = loop_now_ms(s->loop) + s->config->headers_ms;
        r = loop_add_io(s->loop, fd, EPOLLIN, conn_io, c, &c->source);
        if (r < 0) {
                SSL_free(c->ssl);
                return r;
        }
        c->next = s->connections;
        if (c->next)
                c->next->prev = c;
        s->connections = c;
        s->n_connections++;
        c->number = ++s->counters.accepted;
        c->since_ms = clock_utc_ms();
        stranger_add(c);
        TAKE_PTR(c);
        return 0;
}

/* Strangers who hold connections keep nobody out: before one more comes. */
static void server_make_room(struct http_server *s)
{
        if (s->strangers.n_connections >= s->config->strangers_max || s->n_connections >= s->config->connections_max)
                conn_close(TAILQ_FIRST(&s->stranger_list), "another one needs its place");
}

static void server_accept(void *userdata, uint32_t events)
{
        struct http_server *s = userdata;

        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                struct sockaddr_storage from;
                socklen_t size = sizeof(from);
                _cleanup_fd_ int fd = -1;

                if (s->n_connections >= s->config->connections_max && TAILQ_EMPTY(&s->stranger_list)) {
                        server_pause(s, true);
                        return;
                }
                fd = accept4(s->listen_fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        /* out of descriptors: the backlog waits for the next tick */
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                                server_pause(s, true);
                        return;
                }
                server_make_room(s);
                if (conn_new(s, fd, &from) == 0)
                        TAKE_FD(fd);
        }
}

static void server_tick(void *userdata)
{
        struct http_server *s = userdata;
        uint64_t now_ms = loop_now_ms(s->loop);

        for (struct conn *c = s->connections, *next; c; c = next) {
                next = c->next;
                if (c->stalled_ms && now_ms > c->stalled_ms + HTTP_STALL_MS)
                        conn_close(c, "takes no answer");
                else if (!c->requests && now_ms > c->idle_deadline_ms)
                        conn_end(c, NGHTTP2_NO_ERROR, "idle");
                else if (c->session && !session_check_deadlines(c, now_ms))
                        conn_end(c, NGHTTP2_ENHANCE_YOUR_CALM, "request not finished in time");
        }
        if (s->n_connections < s->config->connections_max)
                server_pause(s, false);
}

static void server_after_turn(void *userdata)
{
        struct http_server *s = userdata;

        while (s->dirty) {
                struct conn *c = s->dirty;

                s->dirty = c->next_dirty;
                c->dirty = false;
                if (!c->closed && c->session)
                        conn_flush(c);
                if (c->closed && !c->dirty)
                        conn_free(c);
        }
}

static int listen_open(const char *listen_on, struct diag *reterr)
{
        const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
        char host[HTTP_HOST_MAX], port[6];
        struct addrinfo *found = NULL;
        int r = -EADDRNOTAVAIL;

        if (http_address_parse(listen_on, host, port) < 0)
                return diag_set(reterr, -EINVAL, NULL, 0, "'%s' is not ADDRESS:PORT, [IPV6]:PORT or *:PORT",
                                listen_on);
        if (getaddrinfo(*host ? host : NULL, port, &hints, &found) != 0)
                return diag_set(reterr, r, NULL, 0, "cannot find the address '%s'", listen_on);
        /* with a bare port, [::] first: it takes IPv4 as well */
        for (int family = AF_INET6; family != AF_UNSPEC; family = family == AF_INET6 ? AF_INET : AF_UNSPEC) {
                for (struct addrinfo *a = found; a; a = a->ai_next) {
                        const int on = 1, off = 0;
                        _cleanup_fd_ int fd = -1;

                        if (a->ai_family != family)
                                continue;
                        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                        if (fd >= 0 && family == AF_INET6)
                                (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
                        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                            bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
                                freeaddrinfo(found);
                                return TAKE_FD(fd);
                        }
                        r = -errno;
                }
        }
        freeaddrinfo(found);
        return diag_set(reterr, r, NULL, 0, "cannot listen on '%s': %s", listen_on, strerror(-r));
}

static void server_name(struct http_server *s, int fd)
{
        struct sockaddr_storage a = {0};
        socklen_t size = sizeof(a);
        char text[INET6_ADDRSTRLEN] = "?";

        if (getsockname(fd, (struct sockaddr *)&a, &size) == 0)
                address_format(&a, text, sizeof(text));
        /* sin_port and sin6_port share their place */
        snprintf(s->address, sizeof(s->address), strchr(text, ':') ? "[%s]:%u" : "%s:%u", text,
                 ntohs(((struct sockaddr_in *)&a)->sin_port));
}

int http_server_new(struct loop *l, const struct http_config *c, const char *listen_on, SSL_CTX *tls,
                    struct http_server **ret, struct diag *reterr)
{
        _cleanup_free_ struct http_server *s = calloc(1, sizeof(*s));
        _cleanup_fd_ int fd = -1;
        int r;

        if (!s)
                return -ENOMEM;
        fd = listen_open(listen_on, reterr);
        if (fd < 0)
                return fd;
        s->loop = l;
        s->config = c;
        s->listen_fd = fd;
        server_name(s, fd);
        TAILQ_INIT(&s->stranger_list);
        account_init_strangers(&s->strangers, loop_now_ms(l));
        r = loop_add_after(l, server_after_turn, s);
        if (r == 0)
                r = loop_add_timer(l, TICK_MS, server_tick, s);
        if (r == 0)
                r = loop_add_io(l, fd, EPOLLIN, server_accept, s, &s->listener);
        if (r < 0)
                return r;
        TAKE_FD(fd);
        SSL_CTX_up_ref(tls);
        s->tls = tls;
        *ret = TAKE_PTR(s);
        return 0;
}

const char *http_server_address(const struct http_server *s)
{
        return s->address;
}

size_t http_server_n_connections(const struct http_server *s)
{
        return s->n_connections;
}

const struct http_counters *http_server_counters(const struct http_server *s)
{
        return &s->counters;
}

void http_server_close_peer(struct http_server *s, const char *name)
{
        for (struct conn *c = s->connections, *next; c; c = next) {
                next = c->next;
                if (c->session && strcmp(c->peer.name, name) == 0)
                        conn_close(c, "closed on our side");
        }
}

SSL *http_tls(const struct http_request *req)
{
        return req->conn->ssl;
}

uint64_t http_connection_number(const struct http_request *req)
{
        return req->conn->number;
}

uint64_t http_connection_since_ms(const struct http_request *req)
{
        return req->conn->since_ms;
}

void http_server_stop(struct http_server *s)
{
        if (s->stopping)
                return;
        s->stopping = true;
        loop_source_close(s->listener);
        s->listener = NULL;
        for (struct conn *c = s->connections, *next; c; c = next) {
                next = c->next;
                if (!c->session) {
                        conn_close(c, "the server stops");
                        continue;
                }
                /* RFC 9113 6.8 */
                nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                                      nghttp2_session_get_last_proc_stream_id(c->session), NGHTTP2_NO_ERROR, NULL, 0);
                conn_mark_dirty(c);
        }
}

void http_server_free(struct http_server *s)
{
        if (!s)
                return;
        loop_source_close(s->listener);
        while (s->connections)
                conn_close(s->connections, "the server ends");
        while (s->dirty) {
                struct conn *c = s->dirty;

                s->dirty = c->next_dirty;
                conn_free(c);
        }
        SSL_CTX_free(s->tls);
        free(s);
}
