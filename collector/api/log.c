/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Merkle log for witnesses and verifiers (C2SP tlog-tiles: static, no session). */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/private.h"

#define LOG_PREFIX "/log/"

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
