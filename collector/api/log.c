/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Merkle log for witnesses and verifiers (C2SP tlog-tiles: static, no session), exports of evidence, and what the
 * page shows of both. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/filter.h"
#include "collector/api/private.h"
#include "collector/log/export.h"

#define LOG_PREFIX  "/log/"
#define EXPORTS_MAX 4 /* at a time; each has a database connection */

void log_tick(struct api *a, bool now)
{
        int r = a->log ? tlog_tick(a->log, clock_utc_ms(), now) : 0;

        if (r == -EEXIST)
                log_line(LOG_ERR,
                         "another collector writes the log %s: log.key was copied; remove it from one of them",
                         tlog_key(a->log)->name);
        else if (r < 0)
                log_errno(LOG_ERR, r, "the log takes nothing up at the moment");
}

static void reply_bytes(struct http_request *req, const char *type, const char *cache, struct buf *b)
{
        struct http_response response = {.status = 200, .type = type, .headers = {{"cache-control", cache}}};

        response.blob = buf_error(b) == 0 ? http_blob_new(b->data, b->size) : NULL;
        if (!response.blob) {
                http_respond_error(req, 503, "no memory");
                return;
        }
        response.body = response.blob->data;
        response.size = response.blob->size;
        http_respond(req, &response);
}

static void reply_checkpoint(struct http_request *req)
{
        _cleanup_buf_ struct buf b = {0};
        _cleanup_free_ char *note = NULL;
        size_t size;
        int r = tlog_checkpoint(api_of(req)->log, &note, &size);

        if (r == -ENOENT) {
                reply_error(req, 404, "the log has no checkpoint yet");
        } else if (r < 0) {
                reply_errno(req, r, NULL);
        } else {
                buf_add(&b, note, size);
                reply_bytes(req, "text/plain; charset=utf-8", "no-cache", &b);
        }
}

static void reply_tile(struct http_request *req, const struct merkle_tile *t)
{
        struct api *a = api_of(req);
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        _cleanup_buf_ struct buf b = {0};
        int r = tlog_head_get(store_db(a->store), tlog_key(a->log)->name, 0, &h);

        if (r == 0)
                r = tlog_tile(store_db(a->store), &h, t, &b);
        if (r == -ENOENT)
                reply_error(req, 404, "the log has no such tile");
        else if (r < 0)
                reply_errno(req, r, NULL);
        else
                reply_bytes(req, "application/octet-stream", "public, max-age=31536000, immutable", &b);
}

void log_static(struct http_request *req)
{
        const char *path = req->path + strlen(LOG_PREFIX);
        struct merkle_tile t;

        if (!api_of(req)->log)
                reply_error(req, 404, "this collector keeps no log");
        else if (strcmp(path, "checkpoint") == 0)
                reply_checkpoint(req);
        else if (merkle_tile_parse(path, &t) == 0)
                reply_tile(req, &t);
        else
                reply_error(req, 404, "there is nothing at this address");
}

void log_cosign(struct http_request *req)
{
        struct api *a = api_of(req);
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        int r = a->log ? tlog_head_get(store_db(a->store), tlog_key(a->log)->name, 0, &h) : -ENOENT;

        if (r == 0)
                r = tlog_cosigned(a->store, &h, (const char *)req->body.data, req->body.size);
        if (r == -ENOKEY)
                reply_error(req, 403, "none of the witnesses that were added here has cosigned this");
        else if (r == -EKEYREJECTED)
                reply_error(req, 403, "the cosignature is wrong");
        else if (r == -EBADMSG || r == -ENOENT)
                reply_error(req, 400, "this is not a checkpoint of this log");
        else if (r < 0)
                reply_errno(req, r, NULL);
        else
                reply_after_commit(req, 200, json_object());
}

json_t *log_checkpoint_json(struct api *a)
{
        _cleanup_free_ char *note = NULL;
        size_t size;

        return a->log && tlog_checkpoint(a->log, &note, &size) == 0 ? json_string(note) : NULL;
}

/* {"log":origin,"size":n,"root":hex} as an agent says it: 0, or -EILSEQ when this collector's database knows another
 * history of that log. What cannot be told (an unknown log, one that is behind) is no fork. */
int log_echo_check(struct api *a, json_t *seen, struct merkle_head *ret, const char **ret_log)
{
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        const char *root = json_string_value(json_object_get(seen, "root"));
        json_int_t size = json_integer_value(json_object_get(seen, "size"));
        int r;

        *ret_log = json_string_value(json_object_get(seen, "log"));
        if (!root || !*ret_log || size < 1 || hex_decode(root, ret->root, sizeof(ret->root)) < 0)
                return 0;
        ret->size = (uint64_t)size;
        r = tlog_head_get(store_db(a->store), *ret_log, 0, &h);
        if (r == 0)
                r = tlog_contains(store_db(a->store), &h, ret);
        /* -ERANGE: it saw more than is there, so entries were taken back */
        return r == -EILSEQ || r == -ERANGE ? -EILSEQ : 0;
}

/* ---- export ---- */

struct download {
        struct api *api;
        struct export *export;
};

static int download_more(void *userdata, struct buf *out)
{
        struct download *d = userdata;
        int r = export_more(d->export, out);

        if (r < 0)
                log_errno(LOG_ERR, r, "an export was broken off");
        return r;
}

static void download_done(void *userdata)
{
        struct download *d = userdata;

        d->api->exports--;
        export_free(d->export);
        free(d);
}

static void reply_export(struct http_request *req, const struct store_filter *f)
{
        static const struct http_stream stream = {download_more, download_done};
        struct api *a = api_of(req);
        const struct export_options o = {
                .where = a->database,
                .key = tlog_key(a->log),
                .secret = tlog_secret(a->log),
                .filter = f,
                .now_ms = clock_utc_ms(),
        };
        struct download *d = calloc(1, sizeof(*d));
        struct diag why = {0};
        int r = d ? export_open(&o, &d->export, &why) : -ENOMEM;

        if (r < 0) {
                free(d);
                if (r == -ENOENT)
                        reply_error(req, 404, why.text);
                else
                        reply_errno(req, r, &why);
                return;
        }
        d->api = a;
        a->exports++;
        http_respond(req, &(struct http_response){
                                  .status = 200,
                                  .type = "application/x-ndjson",
                                  .headers = {{"cache-control", "no-store"},
                                              {"content-disposition", "attachment; filename=\"evidence.ndjson\""}},
                                  .stream = &stream,
                                  .stream_userdata = d,
                          });
}

static void export_begin(struct http_request *req)
{
        _cleanup_(http_query_done) struct http_query q = {0};
        struct store_filter f;
        struct diag d = {0};

        if (http_query_parse(req->query, &q, &d) < 0 || filter_parse(&q, &f, &d) < 0)
                reply_error(req, 400, d.text);
        else
                reply_export(req, &f);
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
        if (!a->log || a->exports >= EXPORTS_MAX) {
                reply_error(req, 503,
                            a->log ? "other exports are under way: try again later" : "this collector keeps no log");
                return;
        }
        /* who took what away stands in the log before it goes */
        r = store_audit_add(a->store, &(struct store_audit){clock_utc_ms(), session.user, "export", req->query});
        if (r < 0) {
                reply_errno(req, r, NULL);
                return;
        }
        turn_after(req, TURN_CHECKPOINT, export_begin);
}
