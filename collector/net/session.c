/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests of one connection: what nghttp2 calls back. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "collector/net/conn.h"

#define STREAM_WINDOW     (256 << 10)
#define CONNECTION_WINDOW (1 << 20)
#define RESETS_BURST      100 /* CVE-2023-44487: streams opened and reset at once */
#define RESETS_PER_SECOND 10
#define ACKS_MAX          64 /* PING and SETTINGS answers waiting for a peer that does not read */
#define OUTBOUND_MAX      1000 /* frames of all kinds: a refused stream is answered by one */

static const char *const field_names[] = {
        [HTTP_ACCEPT] = "accept",
        [HTTP_AUTHORITY] = ":authority",
        [HTTP_AUTHORIZATION] = "authorization",
        [HTTP_CONTENT_ENCODING] = "content-encoding",
        [HTTP_CONTENT_TYPE] = "content-type",
        [HTTP_COOKIE] = "cookie",
        [HTTP_HOST] = "host",
        [HTTP_IF_NONE_MATCH] = "if-none-match",
        [HTTP_ORIGIN] = "origin",
};
_Static_assert(ELEMENTSOF(field_names) == _HTTP_FIELD_MAX, "a name for each field");

static struct http_request *request_new(struct conn *c, int32_t stream)
{
        struct http_request *req = calloc(1, sizeof(*req));

        if (!req)
                return NULL;
        req->conn = c;
        req->stream = stream;
        req->userdata = c->server->config->userdata;
        req->peer = c->peer.state == TLS_PEER_GOOD ? c->peer.name : NULL;
        req->certificate = &c->peer;
        req->address = c->address;
        req->progress_ms = loop_now_ms(c->server->loop);
        req->next = c->requests;
        if (req->next)
                req->next->prev = req;
        c->requests = req;
        return req;
}

void http_keep(struct http_request *req, void *kept, void (*kept_free)(void *kept))
{
        if (req->kept)
                req->kept_free(req->kept);
        req->kept = kept;
        req->kept_free = kept_free;
}

/* What it was asked with, and what was made of that. */
static void request_drop_body(struct http_request *req)
{
        http_keep(req, NULL, NULL);
        req->conn->server->n_bodies -= req->body.size;
        req->conn->account->n_bodies -= req->body.size;
        buf_done(&req->body);
        req->body = (struct buf){0};
}

static void request_free(struct http_request *req)
{
        struct conn *c = req->conn;

        if (!req->answered && req->on_gone)
                req->on_gone(req);
        if (req->prev)
                req->prev->next = req->next;
        else
                c->requests = req->next;
        if (req->next)
                req->next->prev = req->prev;
        if (!c->requests)
                conn_idle_from_now(c);
        request_drop_body(req);
        for (size_t i = 0; i < _HTTP_FIELD_MAX; i++)
                free(req->field[i]);
        free(req->method);
        free(req->path);
        http_blob_unref(req->response.blob);
        if (req->response.stream)
                req->response.stream->done(req->response.stream_userdata);
        buf_done(&req->chunk);
        free(req);
}

/* ---- answering ---- */

static ssize_t body_read(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *userdata)
{
        struct http_request *req = source->ptr;
        size_t left = req->response.size - req->sent;
        size_t n = left < size ? left : size;

        memcpy(buf, (const char *)req->response.body + req->sent, n);
        req->sent += n;
        req->progress_ms = http_now_ms(req);
        if (n == left)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
}

static ssize_t stream_read(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t size, uint32_t *flags,
                           nghttp2_data_source *source, void *userdata)
{
        struct http_request *req = source->ptr;
        size_t n;

        while (req->sent == req->chunk.size && !req->last_chunk) {
                int r;

                buf_consume(&req->chunk, req->sent);
                req->sent = 0;
                r = req->response.stream->more(req->response.stream_userdata, &req->chunk);
                req->waiting = r == -EAGAIN;
                if (req->waiting)
                        return NGHTTP2_ERR_DEFERRED;
                if (r < 0 || buf_error(&req->chunk) < 0)
                        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
                req->last_chunk = r == 0;
        }
        n = req->chunk.size - req->sent;
        n = n < size ? n : size;
        if (n > 0)
                memcpy(buf, req->chunk.data + req->sent, n);
        req->sent += n;
        req->progress_ms = http_now_ms(req);
        if (req->last_chunk && req->sent == req->chunk.size)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
}

struct header_list {
        nghttp2_nv nv[32];
        size_t n;
};

static void header_add(struct header_list *l, const char *name, const char *value)
{
        if (l->n < ELEMENTSOF(l->nv))
                l->nv[l->n++] = (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

void http_respond(struct http_request *req, const struct http_response *response)
{
        char status[12], length[24], date[64];
        struct header_list l = {.n = 0};
        nghttp2_data_provider body = {.source.ptr = req, .read_callback = body_read};
        time_t now = time(NULL);
        struct tm tm;

        req->response = *response;
        req->answered = true;
        req->conn->server->counters.answers[response->status]++;
        req->progress_ms = http_now_ms(req);
        request_drop_body(req);
        snprintf(status, sizeof(status), "%u", response->status);
        header_add(&l, ":status", status); /* RFC 9113 8.3: pseudo-headers first */
        /* RFC 9110 6.6.1: a server with a clock sends Date */
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
        header_add(&l, "date", date);
        if (response->type) {
                snprintf(length, sizeof(length), "%zu", response->size);
                header_add(&l, "content-type", response->type);
                if (!response->stream)
                        header_add(&l, "content-length", length);
        }
        for (size_t i = 0; i < HTTP_HEADERS_OWN_MAX && response->headers[i].name; i++)
                header_add(&l, response->headers[i].name, response->headers[i].value);
        for (const struct http_header *h = req->conn->server->config->headers; h && h->name; h++)
                header_add(&l, h->name, h->value);
        if (response->stream)
                body.read_callback = stream_read;
        if (nghttp2_submit_response(req->conn->session, req->stream, l.nv, l.n,
                                    response->type && (response->size > 0 || response->stream) ? &body : NULL) != 0)
                nghttp2_submit_rst_stream(req->conn->session, NGHTTP2_FLAG_NONE, req->stream, NGHTTP2_INTERNAL_ERROR);
        conn_mark_dirty(req->conn);
}

void http_resume(struct http_request *req)
{
        if (!req->waiting)
                return;
        req->waiting = false;
        req->progress_ms = http_now_ms(req);
        (void)nghttp2_session_resume_data(req->conn->session, req->stream);
        conn_mark_dirty(req->conn);
}

static void respond_error(struct http_request *req, unsigned status, const char *json,
                          const struct http_header *extra)
{
        struct http_response response = {
                .status = status,
                .type = "application/json",
                .headers = {{"cache-control", "no-store"}},
                .blob = http_blob_new(json, strlen(json)),
        };

        if (extra)
                response.headers[1] = *extra;
        if (response.blob) {
                response.body = response.blob->data;
                response.size = response.blob->size;
        }
        http_respond(req, &response);
}

void http_respond_error(struct http_request *req, unsigned status, const char *text)
{
        char json[256];

        snprintf(json, sizeof(json), "{\"error\":\"%s\"}", text);
        respond_error(req, status, json, NULL);
}

static void respond_too_large(struct http_request *req)
{
        char json[160];

        snprintf(json, sizeof(json), "{\"error\":\"the body is larger than %zu bytes\",\"max_bytes\":%zu}",
                 req->route->body_max, req->route->body_max);
        respond_error(req, 413, json, NULL);
}

static void respond_busy(struct http_request *req)
{
        respond_error(req, 503, "{\"error\":\"too much is being received at the moment\"}",
                      &(struct http_header){"retry-after", "5"});
}

/* Bytes that bodies of this connection may still take. */
static size_t bodies_room(const struct conn *c)
{
        size_t room = account_room(c->account), left = HTTP_BODIES_MAX - c->server->n_bodies;

        return room < left ? room : left;
}

/* Who had more than their share of the loop waits, so that others do not: true, answered 429. */
static bool refuse_debtor(struct http_request *req)
{
        unsigned wait_s = account_wait_s(req->conn->account, http_now_ms(req));
        char retry[12];

        if (wait_s == 0)
                return false;
        snprintf(retry, sizeof(retry), "%u", wait_s);
        respond_error(req, 429, "{\"error\":\"too many requests: try again later\"}",
                      &(struct http_header){"retry-after", retry});
        return true;
}

void http_hold(struct http_request *req, uint64_t deadline_ms, http_fn on_deadline, http_fn on_gone)
{
        req->deadline_ms = deadline_ms;
        req->on_deadline = on_deadline;
        req->on_gone = on_gone;
}

uint64_t http_now_ms(const struct http_request *req)
{
        return loop_now_ms(req->conn->server->loop);
}

/* ---- receiving ---- */

static bool route_matches(const struct http_route *route, const char *path)
{
        size_t n = strlen(route->path);

        return route->path[n - 1] == '/' ? strncmp(route->path, path, n) == 0 : strcmp(route->path, path) == 0;
}

/* False after answering. */
static bool headers_are_right(struct http_request *req)
{
        const char *host = req->field[HTTP_HOST], *authority = req->field[HTTP_AUTHORITY];

        if (req->headers_size > HTTP_HEADERS_MAX)
                http_respond_error(req, 431, "the headers are larger than 16384 bytes");
        else if (!req->path || !req->method)
                http_respond_error(req, 400, "the headers are not complete");
        else if (host && authority && strcasecmp(host, authority) != 0) /* RFC 9113 8.3.1 */
                http_respond_error(req, 400, "Host is another than :authority");
        else
                return true;
        return false;
}

static bool peer_suffices(const struct http_request *req)
{
        enum tls_peer_state state = req->certificate->state;

        switch (req->route->needs_peer) {
        case HTTP_PEER_ANY:
                return true;
        case HTTP_PEER_GOOD:
                return state == TLS_PEER_GOOD;
        case HTTP_PEER_EXPIRED:
                return state == TLS_PEER_GOOD || state == TLS_PEER_EXPIRED;
        }
        return false;
}

static void respond_unauthorised(struct http_request *req)
{
        char text[192];

        switch (req->certificate->state) {
        case TLS_PEER_NONE:
        case TLS_PEER_GOOD:
                http_respond_error(req, 401, "a client certificate is needed: enrol first");
                return;
        case TLS_PEER_EXPIRED:
                http_respond_error(req, 401, "the client certificate has expired: it is good for its renewal alone");
                return;
        case TLS_PEER_REFUSED:
                snprintf(text, sizeof(text), "the client certificate is refused: %s", req->certificate->problem);
                http_respond_error(req, 401, text);
                return;
        }
}

static void request_route(struct http_request *req)
{
        struct http_header allow = {"allow", NULL};

        req->headers_done = true;
        if (!headers_are_right(req))
                return;
        req->query = strchr(req->path, '?');
        if (req->query)
                *req->query++ = 0;
        for (const struct http_route *route = req->conn->server->config->routes; route->path; route++) {
                if (!route_matches(route, req->path))
                        continue;
                if (strcmp(route->method, req->method) == 0) {
                        req->route = route;
                        break;
                }
                allow.value = allow.value ? allow.value : route->method;
        }
        if (!req->route && allow.value)
                respond_error(req, 405, "{\"error\":\"this address does not take that method\"}", &allow);
        else if (!req->route)
                http_respond_error(req, 404, "there is nothing at this address");
        else if (!peer_suffices(req))
                respond_unauthorised(req);
        else if (req->content_length > req->route->body_max)
                respond_too_large(req);
        else if (req->content_length > bodies_room(req->conn))
                respond_busy(req);
        else
                (void)refuse_debtor(req);
}

void http_run(struct http_request *req, http_fn fn)
{
        struct account *a = req->conn->account;
        uint64_t before_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);

        fn(req);
        account_charge(a, (clock_ns(CLOCK_THREAD_CPUTIME_ID) - before_ns) / 1000);
}

void http_handle(struct http_request *req)
{
        http_run(req, req->route->handle);
}

static void request_complete(struct http_request *req)
{
        http_fn enter = req->conn->server->config->enter;

        req->received = true;
        if (!req->answered && !refuse_debtor(req))
                (enter ?: http_handle)(req);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
        struct http_request *req;

        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0;
        req = request_new(userdata, frame->hd.stream_id);
        if (!req)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, req);
        return 0;
}

/* RFC 9113 8.2.3: several cookie fields are one, joined by "; ". */
static char *field_join(char *old, const char *value)
{
        size_t n = old ? strlen(old) + 2 : 0;
        char *joined = realloc(old, n + strlen(value) + 1);

        if (!joined)
                return old;
        if (n > 0)
                memcpy(joined + n - 2, "; ", 2);
        strcpy(joined + n, value);
        return joined;
}

static int request_header(struct http_request *req, const char *name, const char *value)
{
        if (strcmp(name, ":method") == 0)
                return (req->method = strdup(value)) ? 0 : -ENOMEM;
        if (strcmp(name, ":path") == 0)
                return (req->path = strdup(value)) ? 0 : -ENOMEM;
        if (strcmp(name, "content-length") == 0)
                return parse_u64(value, UINT64_MAX, &req->content_length);
        for (size_t i = 0; i < _HTTP_FIELD_MAX; i++)
                if (strcmp(name, field_names[i]) == 0 && (i == HTTP_COOKIE || !req->field[i]))
                        req->field[i] = field_join(req->field[i], value);
        return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *userdata)
{
        struct http_request *req = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

        if (!req || req->headers_done)
                return 0; /* trailers */
        req->headers_size += name_size + value_size + 32;
        if (req->headers_size > HTTP_HEADERS_MAX)
                return 0;
        /* nghttp2 guarantees the NUL behind both */
        return request_header(req, (const char *)name, (const char *)value) < 0
                       ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
                       : 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t size,
                   void *userdata)
{
        struct http_request *req = nghttp2_session_get_stream_user_data(session, stream);
        struct conn *c = userdata;

        /* The rest of a refused body is taken and dropped for HTTP_STALL_MS: libcurl 7.88 loses the answer
         * when the stream is reset instead (RFC 9113 8.1 allows either). */
        if (!req || req->answered)
                return 0;
        if (size > req->route->body_max - req->body.size) {
                respond_too_large(req);
                return 0;
        }
        if (size > bodies_room(c)) {
                respond_busy(req);
                return 0;
        }
        buf_add(&req->body, data, size);
        if (buf_error(&req->body) < 0)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        c->server->n_bodies += size;
        c->account->n_bodies += size;
        return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
        struct http_request *req;

        if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
                return 0;
        req = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (!req)
                return 0;
        if (!req->headers_done)
                request_route(req);
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
                request_complete(req);
        return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *userdata)
{
        struct http_request *req = nghttp2_session_get_stream_user_data(session, stream);

        if (req)
                request_free(req);
        return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
        return frame->hd.type == NGHTTP2_RST_STREAM ? conn_count_reset(userdata) : 0;
}

/* ---- the session ---- */

static int session_new(struct conn *c, nghttp2_session_callbacks *callbacks, nghttp2_option *option)
{
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
        nghttp2_option_set_stream_reset_rate_limit(option, RESETS_BURST, RESETS_PER_SECOND);
        return nghttp2_session_server_new2(&c->session, callbacks, c, option) == 0 ? 0 : -ENOMEM;
}

int session_open(struct conn *c)
{
        const nghttp2_settings_entry settings[] = {
                {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->server->config->streams_max},
                {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
                {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEADERS_MAX},
        };
        nghttp2_session_callbacks *callbacks = NULL;
        nghttp2_option *option = NULL;
        int r = -ENOMEM;

        if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0)
                r = session_new(c, callbacks, option);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        if (r < 0)
                return r;
        if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ELEMENTSOF(settings)) != 0 ||
            nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) != 0)
                return -ENOMEM;
        return 0;
}

int session_receive(struct conn *c, const uint8_t *data, size_t size)
{
        ssize_t n = nghttp2_session_mem_recv(c->session, data, size);

        if (n == NGHTTP2_ERR_FLOODED || c->resets > RESETS_MAX ||
            nghttp2_session_get_outbound_queue_size(c->session) > OUTBOUND_MAX)
                return -ENOBUFS;
        return n < 0 ? -EPROTO : 0;
}

int session_send(struct conn *c, size_t max)
{
        while (c->out.size < max) {
                const uint8_t *data;
                ssize_t n = nghttp2_session_mem_send(c->session, &data);

                if (n < 0)
                        return -EPROTO;
                if (n == 0)
                        break;
                buf_add(&c->out, data, (size_t)n);
        }
        return buf_error(&c->out);
}

void session_close(struct conn *c)
{
        while (c->requests)
                request_free(c->requests);
        nghttp2_session_del(c->session);
        c->session = NULL;
}

/* What the peer may take for its next step. */
static uint64_t request_patience_ms(const struct http_request *req)
{
        if (req->answered)
                return req->waiting ? UINT64_MAX : HTTP_STALL_MS;
        if (req->received)
                return UINT64_MAX;
        if (!req->headers_done)
                return req->conn->server->config->headers_ms;
        return req->body.size < HTTP_BODY_MS - HTTP_BODY_GRACE_MS ? HTTP_BODY_GRACE_MS + req->body.size
                                                                  : HTTP_BODY_MS;
}

bool session_check_deadlines(struct conn *c, uint64_t now_ms)
{
        for (struct http_request *req = c->requests, *next; req; req = next) {
                next = req->next;
                if (now_ms - req->progress_ms > request_patience_ms(req)) {
                        if (req->answered || !req->headers_done)
                                return false;
                        http_respond_error(req, 408, "the body came too slowly");
                }
                if (!req->answered && req->on_deadline && now_ms >= req->deadline_ms)
                        req->on_deadline(req);
        }
        return true;
}
