/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Exports of evidence: opened and made by a thread of their own, a piece ahead of what the visitor takes. Exports take
 * turns there, a piece each. */
#include <errno.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "collector/api/filter.h"
#include "collector/api/private.h"
#include "collector/log/export.h"
#include "collector/net/message.h"

#define EXPORTS_MAX 4 /* at a time; each has a database connection */
#define PIECE_BYTES (256u << 10) /* or one batch, whatever its size */

struct download {
        struct worker_job job; /* first: a job is the beginning of a download */
        struct api *api;
        struct http_request *req; /* NULL: gone */
        struct export *export;
        struct buf piece;
        int r; /* of export_more(): what comes behind the piece */
        bool making, made;
};

static void download_free(struct download *d)
{
        d->api->exports--;
        export_free(d->export);
        buf_done(&d->piece);
        free(d);
}

static void piece_run(struct worker_job *job)
{
        struct download *d = (struct download *)job;

        do
                d->r = export_more(d->export, &d->piece);
        while (d->r > 0 && d->piece.size < PIECE_BYTES);
}

static void piece_done(struct worker_job *job)
{
        struct download *d = (struct download *)job;

        d->making = false;
        d->made = true;
        if (d->r < 0)
                log_errno(LOG_ERR, d->r, "an export was broken off");
        if (d->req)
                http_resume(d->req);
        else
                download_free(d);
}

static int piece_make(struct download *d)
{
        int r;

        d->made = false;
        r = worker_add(d->api->exporter, &d->job);
        d->making = r == 0;
        return r == -EAGAIN ? -ENOBUFS : r;
}

static int download_more(void *userdata, struct buf *out)
{
        struct download *d = userdata;
        int r = d->r;

        if (!d->made)
                return -EAGAIN;
        if (r < 0)
                return r;
        buf_add(out, d->piece.data, d->piece.size);
        buf_consume(&d->piece, d->piece.size);
        return r > 0 && piece_make(d) < 0 ? -ENOBUFS : r;
}

static void download_done(void *userdata)
{
        struct download *d = userdata;

        d->req = NULL;
        if (!d->making)
                download_free(d);
}

/* ---- opening ---- */

struct opening {
        struct later later; /* first */
        struct http_query query;
        struct store_filter filter; /* points into the query */
        struct download *download; /* NULL: under way */
        int r;
};

static json_t *opening_run(struct later *l)
{
        struct opening *o = (struct opening *)l;
        const struct export_options options = {
                .where = l->api->database,
                .key = tlog_key(l->api->log),
                .secret = tlog_secret(l->api->log),
                .filter = &o->filter,
                .now_ms = clock_utc_ms(),
                .stop = &l->api->ending,
        };

        o->r = export_open(&options, &o->download->export, &l->diag);
        return json_object();
}

static void opening_reply(struct later *l)
{
        static const struct http_stream stream = {download_more, download_done};
        struct opening *o = (struct opening *)l;
        struct download *d = o->download;

        if (o->r == 0)
                o->r = piece_make(d);
        if (o->r == -ENOENT) {
                reply_error(l->req, 404, l->diag.text);
        } else if (o->r < 0) {
                reply_errno(l->req, o->r, &l->diag);
        } else {
                d->req = l->req;
                o->download = NULL;
                http_respond(l->req,
                             &(struct http_response){
                                     .status = 200,
                                     .type = "application/x-ndjson",
                                     .headers = {{"cache-control", "no-store"},
                                                 {"content-disposition", "attachment; filename=\"evidence.ndjson\""}},
                                     .stream = &stream,
                                     .stream_userdata = d,
                             });
        }
}

static void opening_ended(struct later *l)
{
        struct opening *o = (struct opening *)l;

        if (o->download)
                download_free(o->download);
        http_query_done(&o->query);
}

/* False after answering 503. */
static bool has_room(struct http_request *req)
{
        if (api_of(req)->exports < EXPORTS_MAX)
                return true;
        reply_error(req, 503, "other exports are under way: try again later");
        return false;
}

static void opening_start(struct http_request *req, struct opening *o, struct download *d)
{
        struct api *a = api_of(req);

        *d = (struct download){.job = {.run = piece_run, .done = piece_done}, .api = a};
        a->exports++;
        o->download = d;
        o->later.worker = a->exporter;
        o->later.needs_no_store = true;
        o->later.run = opening_run;
        o->later.reply = opening_reply;
        o->later.ended = opening_ended;
        reply_later(req, &o->later);
}

static void export_begin(struct http_request *req)
{
        _cleanup_free_ struct opening *o = NULL;
        _cleanup_free_ struct download *d = NULL;
        struct diag why = {0};
        int r;

        if (!has_room(req))
                return;
        o = calloc(1, sizeof(*o));
        d = calloc(1, sizeof(*d));
        r = o && d ? http_query_parse(req->query, &o->query, &why) : -ENOMEM;
        if (r == 0 && (r = filter_parse(&o->query, &o->filter, &why)) < 0)
                http_query_done(&o->query);
        if (r < 0)
                reply_errno(req, r, &why);
        else
                opening_start(req, TAKE_PTR(o), TAKE_PTR(d));
}

void page_export(struct http_request *req)
{
        struct api *a = api_of(req);
        _cleanup_(http_query_done) struct http_query q = {0};
        struct store_session session;
        struct store_filter f;
        struct diag d = {0};
        int r;

        if (!page_authorised(req, &session))
                return;
        if (http_query_parse(req->query, &q, &d) < 0 || filter_parse(&q, &f, &d) < 0) {
                reply_error(req, 400, d.text);
                return;
        }
        if (!a->log) {
                reply_error(req, 503, "this collector keeps no log");
                return;
        }
        if (!has_room(req))
                return;
        /* who took what away stands in the log before it goes */
        r = store_audit_add(a->store, &(struct store_audit){clock_utc_ms(), session.user, "export", req->query});
        if (r < 0) {
                reply_errno(req, r, NULL);
                return;
        }
        turn_after(req, TURN_CHECKPOINT, export_begin);
}
