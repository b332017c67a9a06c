/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers as JSON, at once or after the commit. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "collector/api/private.h"

struct pending {
        struct pending *next;
        struct http_request *req; /* NULL: the stream is gone */
        unsigned status;
        char *text;
};

void reply_text(struct http_request *req, unsigned status, char *text, const struct http_header *extra)
{
        struct http_response response = {
                .status = status,
                .type = CONTENT_JSON,
                .headers = {{"cache-control", "no-store"}},
                .blob = text ? http_blob_new(text, strlen(text)) : NULL,
        };

        free(text);
        if (!response.blob) {
                http_respond_error(req, 503, "no memory");
                return;
        }
        if (extra)
                response.headers[1] = *extra;
        response.body = response.blob->data;
        response.size = response.blob->size;
        http_respond(req, &response);
}

static char *json_text(json_t *body)
{
        char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

        json_decref(body);
        return text;
}

void reply_json_with(struct http_request *req, unsigned status, json_t *body, const struct http_header *extra)
{
        reply_text(req, status, json_text(body), extra);
}

void reply_json(struct http_request *req, unsigned status, json_t *body)
{
        reply_json_with(req, status, body, NULL);
}

void reply_error(struct http_request *req, unsigned status, const char *text)
{
        reply_json(req, status, json_pack("{s:s}", "error", text));
}

void reply_errno(struct http_request *req, int r, const struct diag *d)
{
        static const struct http_header retry = {"retry-after", "10"};
        char text[DIAG_TEXT_MAX + 32];

        switch (-r) {
        case EBADMSG:
        case EILSEQ:
        case EKEYREJECTED:
                snprintf(text, sizeof(text), d->line ? "line %u: %s" : "%.0u%s", d->line, d->text);
                reply_error(req, 400, text);
                return;
        case E2BIG:
                reply_json(req, 413,
                           json_pack("{s:s,s:I}", "error", d->text, "max_bytes", (json_int_t)BATCH_MAX_BYTES));
                return;
        case ENOENT:
                reply_error(req, 404, "there is no such record");
                return;
        case EAGAIN:
                reply_json_with(req, 503, json_pack("{s:s}", "error", "too much is asked at the moment"), &retry);
                return;
        case ENOSPC:
                log_line(LOG_ERR, "the store is full");
                reply_json_with(req, 507, json_pack("{s:s}", "error", "the store is full"), &retry);
                return;
        case ETIME:
                reply_error(req, 503, "the search takes too long: narrow it by time, device or channel");
                return;
        }
        log_errno(LOG_ERR, r, "%s %s", req->method, req->route->path);
        reply_json_with(req, 503, json_pack("{s:s}", "error", "the store does not take it at the moment"), &retry);
}

static void on_pending_gone(struct http_request *req)
{
        struct pending *p = req->held;

        p->req = NULL;
}

void reply_after_commit(struct http_request *req, unsigned status, json_t *body)
{
        reply_text_after_commit(req, status, json_text(body));
}

void reply_text_after_commit(struct http_request *req, unsigned status, char *text)
{
        struct pending *p = calloc(1, sizeof(*p));

        if (!p) {
                free(text);
                http_respond_error(req, 503, "no memory");
                return;
        }
        *p = (struct pending){.next = api_of(req)->pending, .req = req, .status = status, .text = text};
        api_of(req)->pending = p;
        req->held = p;
        http_hold(req, UINT64_MAX, NULL, on_pending_gone);
}

void reply_pending(struct pending *list, int r)
{
        while (list) {
                struct pending *p = list;

                list = p->next;
                if (p->req && r == 0)
                        reply_text(p->req, p->status, TAKE_PTR(p->text), NULL);
                else if (p->req)
                        reply_errno(p->req, r, NULL);
                free(p->text);
                free(p);
        }
}

/* ---- by the worker ---- */

static void later_run(struct worker_job *job)
{
        struct later *l = (struct later *)job;

        l->text = json_text(l->run(l));
        if (!l->text && l->r == 0)
                l->r = -ENOMEM;
}

static void later_end(struct later *l)
{
        if (l->req && l->r < 0)
                reply_errno(l->req, l->r, &l->diag);
        else if (l->req && l->reply)
                l->reply(l);
        else if (l->req)
                reply_text(l->req, 200, TAKE_PTR(l->text), NULL);
        if (l->ended)
                l->ended(l);
        free(l->text);
        free(l);
}

static void later_go(struct turn_wait *w)
{
        later_end((struct later *)((char *)w - offsetof(struct later, wait)));
}

static void later_done(struct worker_job *job)
{
        struct later *l = (struct later *)job;

        if (l->reply && !l->needs_no_store && l->api->turn.doing) {
                l->wait.run = later_go;
                turn_wait(l->api, &l->wait);
        } else {
                later_end(l);
        }
}

static void on_later_gone(struct http_request *req)
{
        ((struct later *)req->held)->req = NULL;
}

void reply_later(struct http_request *req, struct later *l)
{
        int r;

        _Static_assert(offsetof(struct later, job) == 0, "a job is the beginning of a later");
        l->job = (struct worker_job){.run = later_run, .done = later_done};
        l->api = api_of(req);
        l->req = req;
        r = worker_add(l->worker ?: l->api->worker, &l->job);
        if (r < 0) {
                l->r = r;
                later_done(&l->job);
                return;
        }
        req->held = l;
        http_hold(req, UINT64_MAX, NULL, on_later_gone);
}

bool request_content_is(const struct http_request *req, const char *type)
{
        const char *given = req->field[HTTP_CONTENT_TYPE];
        size_t n = strlen(type);

        /* RFC 9110 8.3.1: parameters may follow */
        return given && strncasecmp(given, type, n) == 0 && (given[n] == 0 || given[n] == ';' || given[n] == ' ');
}

json_t *request_json(struct http_request *req)
{
        json_error_t e;
        json_t *o;
        char text[sizeof(e.text) + 64];

        if (!request_content_is(req, CONTENT_JSON)) {
                reply_error(req, 400, "Content-Type must be " CONTENT_JSON);
                return NULL;
        }
        o = json_loadb(req->body.data ? (const char *)req->body.data : "", req->body.size, JSON_REJECT_DUPLICATES,
                       &e);
        if (json_is_object(o))
                return o;
        snprintf(text, sizeof(text), "line %d: %s", o ? 1 : e.line, o ? "not a JSON object" : e.text);
        json_decref(o);
        reply_error(req, 400, text);
        return NULL;
}
