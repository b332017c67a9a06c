/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to net/: conn.c owns sockets, TLS and deadlines, session.c what nghttp2 makes of the
 * bytes. session.c never closes a connection; it returns an error or marks it dirty. */
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <sys/queue.h>
#include "collector/net/account.h"
#include "collector/net/http.h"
#include "collector/net/tls.h"

struct conn {
        struct http_server *server;
        struct conn *prev, *next;
        struct conn *next_dirty;
        struct account *account; /* the device's, or the strangers' */
        TAILQ_ENTRY(conn) stranger; /* while it is the strangers' */
        struct loop_source *source;
        SSL *ssl;
        nghttp2_session *session; /* NULL: handshake */
        struct buf out; /* framed, not yet taken by TLS */
        struct http_request *requests;
        uint64_t idle_deadline_ms; /* counts while there is no request */
        uint64_t stalled_ms; /* since when `out` waits; 0: it does not */
        uint64_t resets_since_ms; /* loop_now_ms() */
        uint32_t resets; /* of streams, by us, since then */
        uint32_t events;
        bool dirty, closed, lingering;
        struct tls_peer peer;
        uint64_t number, since_ms; /* UTC */
        char address[INET6_ADDRSTRLEN];
};

struct http_server {
        struct loop *loop;
        const struct http_config *config;
        SSL_CTX *tls;
        struct loop_source *listener;
        int listen_fd; /* owned by listener */
        bool paused, stopping;
        struct conn *connections;
        size_t n_connections;
        void *accounts; /* tree of struct account */
        struct account strangers;
        TAILQ_HEAD(, conn) stranger_list; /* the longest without a request first */
        struct conn *dirty;
        size_t n_bodies; /* bytes of HTTP_BODIES_MAX in use */
        struct http_counters counters;
        char address[INET6_ADDRSTRLEN + 10];
};

/* Flushed, or freed if closed, at the end of the turn. */
void conn_mark_dirty(struct conn *c);
void conn_idle_from_now(struct conn *c);
#define RESETS_MAX 1000 /* in RESETS_MS; more are a flood, also to a peer that reads them */
#define RESETS_MS  60000
/* A stream is reset by us. Returns 0. */
int conn_count_reset(struct conn *c);

int session_open(struct conn *c);
/* -EPROTO: not HTTP/2; -ENOBUFS: a flood. The connection is to be closed. */
int session_receive(struct conn *c, const uint8_t *data, size_t size);
/* Moves at most about `max` bytes of frames to c->out. */
int session_send(struct conn *c, size_t max);
void session_close(struct conn *c);
/* False: a request of this connection overran its time so that the connection must end. */
bool session_check_deadlines(struct conn *c, uint64_t now_ms);
