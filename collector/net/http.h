/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* HTTP/2 over TLS on the loop (libnghttp2). Routing, limits and deadlines are settled here, so
 * that a handler sees only whole requests within the bounds of its route. A handler answers at
 * once with http_respond(), or holds the request (http_hold()) and answers later from the loop.
 * A request dies with its stream: a holder learns that by on_gone. */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/diag.h"
#include "collector/net/loop.h"
#include "collector/net/tls.h"

#define HTTP_HEADERS_MAX   (16u << 10) /* bytes, counted as in RFC 9113 6.5.2 */
#define HTTP_BODIES_MAX    (128u << 20) /* bytes of unfinished request bodies, all connections together */
#define HTTP_BODY_MS       120000
#define HTTP_BODY_GRACE_MS 10000 /* a body may begin slowly; from then on a byte each ms is the least */
#define HTTP_STALL_MS      30000 /* the peer takes nothing of what it asked for */

enum http_field {
        HTTP_ACCEPT,
        HTTP_AUTHORITY,
        HTTP_AUTHORIZATION,
        HTTP_CONTENT_ENCODING,
        HTTP_CONTENT_TYPE,
        HTTP_COOKIE,
        HTTP_HOST,
        HTTP_IF_NONE_MATCH,
        HTTP_ORIGIN,
        _HTTP_FIELD_MAX,
};

struct conn;
struct http_request;
struct http_server;
typedef void (*http_fn)(struct http_request *req);

/* What the answers of many requests share. The count is of owners; starts with one. */
struct http_blob {
        unsigned refs;
        size_t size;
        char data[];
};
struct http_blob *http_blob_new(const void *data, size_t size);
struct http_blob *http_blob_ref(struct http_blob *b);
void http_blob_unref(struct http_blob *b); /* accepts NULL */

struct http_header {
        const char *name, *value;
};
#define HTTP_HEADERS_OWN_MAX 6

/* A body of unknown size. more() appends to `out` when the peer has taken what was there: 1, 0 that was all, -EAGAIN not
 * yet: http_resume() says when; else negative: the stream is reset, so that nobody takes it for whole. done() is called
 * once, also when the peer went away. */
struct http_stream {
        int (*more)(void *userdata, struct buf *out);
        void (*done)(void *userdata);
};

/* Header strings are copied. The body lives as long as `blob`, or for ever without one. */
struct http_response {
        unsigned status;
        const char *type; /* NULL: no body */
        struct http_header headers[HTTP_HEADERS_OWN_MAX]; /* up to the first without a name */
        const void *body;
        size_t size;
        struct http_blob *blob; /* http_respond() takes this reference */
        const struct http_stream *stream; /* instead of body: made while it is sent */
        void *stream_userdata;
};

enum http_peer {
        HTTP_PEER_ANY, /* also none */
        HTTP_PEER_GOOD, /* a client certificate of our authority */
        HTTP_PEER_EXPIRED, /* or one that was */
};

struct http_route {
        const char *method;
        const char *path; /* the whole path; ending in '/': everything below as well */
        enum http_peer needs_peer; /* else 401, before any body is taken */
        size_t body_max; /* 413 above */
        http_fn handle;
};

struct http_request {
        const struct http_route *route;
        char *method, *path, *query; /* query: without '?', NULL when there is none */
        char *field[_HTTP_FIELD_MAX]; /* NULL: not sent */
        struct buf body;
        const char *peer; /* name in the client's certificate, when that is good; or NULL */
        const struct tls_peer *certificate;
        const char *address; /* the client's, as text */
        void *userdata; /* of the server */

        /* of the handler that holds it */
        void *held;
        void *kept; /* http_keep() */
        void (*kept_free)(void *kept);
        uint64_t deadline_ms; /* loop_now_ms() */
        http_fn on_deadline, on_gone;

        /* of net/ */
        struct conn *conn;
        struct http_request *prev, *next;
        int32_t stream;
        uint64_t progress_ms; /* since when the peer owes something: headers, body, reading the answer */
        uint64_t content_length;
        size_t headers_size;
        bool headers_done, received, answered;
        struct http_response response;
        size_t sent;
        struct buf chunk; /* of a stream, of which `sent` bytes are gone */
        bool last_chunk, waiting; /* for http_resume() */
};

/* Its time is charged to the visitor. */
void http_run(struct http_request *req, http_fn fn);
/* The same, of the route's handler. */
void http_handle(struct http_request *req);
/* Until the request is answered or gone, or something else is kept; NULL: nothing any more. */
void http_keep(struct http_request *req, void *kept, void (*kept_free)(void *kept));
/* Ends the request: exactly once. */
void http_respond(struct http_request *req, const struct http_response *response);
/* more() of its stream has something. */
void http_resume(struct http_request *req);
/* {"error":"…"} with Cache-Control: no-store; the text must need no escaping in JSON. */
void http_respond_error(struct http_request *req, unsigned status, const char *text);
/* on_deadline must answer; on_gone must forget the request. */
void http_hold(struct http_request *req, uint64_t deadline_ms, http_fn on_deadline, http_fn on_gone);

struct http_config {
        const char *name; /* in log lines */
        const struct http_route *routes; /* first match holds; ends with a NULL path */
        const struct http_header *headers; /* on every answer; ends with a NULL name */
        http_fn enter; /* called for a whole request; calls http_handle(), then or later. NULL: at once */
        void *userdata;
        unsigned connections_max, streams_max;
        unsigned
                strangers_max; /* of the connections, without a client certificate: beyond it the longest idle one goes */
        uint64_t headers_ms; /* for a handshake, for the first request, for a header block */
        uint64_t idle_ms; /* without a request: a connection with a client certificate or none asked for */
        uint64_t anonymous_idle_ms; /* one without a certificate where certificates are asked for */
};

/* Listens on "ADDRESS:PORT", "[V6]:PORT" or "*:PORT". Takes a reference to tls; *c must
 * outlive the server. Functions to run before answers are sent each turn must have been added
 * to the loop before. */
int http_server_new(struct loop *l, const struct http_config *c, const char *listen_on, SSL_CTX *tls,
                    struct http_server **ret, struct diag *reterr);
/* "127.0.0.1:8443" */
const char *http_server_address(const struct http_server *s);
size_t http_server_n_connections(const struct http_server *s);
#define HTTP_STATUS_MAX 600
struct http_counters {
        uint64_t accepted; /* connections, ever */
        uint64_t not_secured; /* of these, closed before the handshake was through */
        uint64_t answers[HTTP_STATUS_MAX]; /* by status */
};
const struct http_counters *http_server_counters(const struct http_server *s);
/* No new connection, no new stream; connections close as their requests end. */
void http_server_stop(struct http_server *s);
/* Closes everything; accepts NULL. Before loop_free(). */
void http_server_free(struct http_server *s);
/* Closes a peer's connections, without answers: what it asks next is judged anew. */
void http_server_close_peer(struct http_server *s, const char *name);
uint64_t http_now_ms(const struct http_request *req);
SSL *http_tls(const struct http_request *req);
/* Connections are numbered as they come, from 1. */
uint64_t http_connection_number(const struct http_request *req);
uint64_t http_connection_since_ms(const struct http_request *req); /* UTC */
