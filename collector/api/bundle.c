/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/bundle.h"
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>
#include <sys/inotify.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

static const struct {
        const char *name, *comment;
        size_t max;
} parts[] = {
        [BUNDLE_POLICY] = {"policy", "\ntrusted comment: onchannel policy ", BUNDLE_POLICY_MAX},
        [BUNDLE_CATALOGUE] = {"catalogue", "\ntrusted comment: onchannel catalogue ", BUNDLE_FILE_MAX},
};
_Static_assert(ELEMENTSOF(parts) == _BUNDLE_PART_MAX, "enum bundle_part");

/* Text in JSON takes at most six bytes for one. */
#define BUNDLE_JSON_MAX (6ull * (BUNDLE_FILE_MAX + BUNDLE_SIGNATURE_MAX) + 64)

struct poll {
        struct bundle *bundle;
        struct poll *prev, *next;
        struct http_request *req;
        unsigned spread_s;
};

struct bundle {
        struct loop *loop;
        char *dir;
        struct loop_source *watch;
        int watch_fd; /* owned by watch */
        struct http_blob *body;
        char etag[40];
        struct poll *polls;
};

static int file_error(struct diag *reterr, int r, const char *file)
{
        return diag_set(reterr, r, file, 0, "cannot read it: %s", strerror(-r));
}

int bundle_put(const char *dir, enum bundle_part part, const char *file, struct diag *reterr)
{
        _cleanup_free_ char *text = NULL, *signature = NULL, *path = NULL, *target = NULL, *json = NULL;
        json_auto_t *o = NULL;
        size_t size, signature_size;
        int r;

        path = format_new("%s.minisig", file);
        target = format_new("%s/%s.json", dir, parts[part].name);
        if (!path || !target)
                return -ENOMEM;
        r = file_read(file, parts[part].max, &text, &size);
        if (r < 0)
                return file_error(reterr, r, file);
        r = file_read(path, BUNDLE_SIGNATURE_MAX, &signature, &signature_size);
        if (r < 0)
                return file_error(reterr, r, path);
        if (!text_is_utf8(text, size) || memchr(text, 0, size))
                return diag_set(reterr, -EBADMSG, file, 0, "not UTF-8 text");
        if (!text_is_utf8(signature, signature_size) || !text_starts_with(signature, "untrusted comment:") ||
            !strstr(signature, parts[part].comment))
                return diag_set(reterr, -EBADMSG, path, 0, "not the signature of a %s", parts[part].name);
        o = json_pack("{s:s%,s:s%}", "file", text, size, "minisig", signature, signature_size);
        json = o ? json_dumps(o, JSON_COMPACT) : NULL;
        if (!json)
                return -ENOMEM;
        r = file_write_atomic(target, json, strlen(json), 0644);
        return r < 0 ? diag_set(reterr, r, target, 0, "cannot write it: %s", strerror(-r)) : 0;
}

const char *bundle_part_name(enum bundle_part part)
{
        return parts[part].name;
}

int bundle_read(const char *dir, enum bundle_part part, char **ret)
{
        _cleanup_free_ char *path = format_new("%s/%s.json", dir, parts[part].name);
        size_t size;

        return path ? file_read(path, BUNDLE_JSON_MAX, ret, &size) : -ENOMEM;
}

int bundle_write(const char *dir, enum bundle_part part, const char *json)
{
        _cleanup_free_ char *path = format_new("%s/%s.json", dir, parts[part].name);

        return path ? file_write_atomic(path, json, strlen(json), 0644) : -ENOMEM;
}

static int part_read(const struct bundle *b, enum bundle_part part, struct buf *body)
{
        _cleanup_free_ char *path = format_new("%s/%s.json", b->dir, parts[part].name), *text = NULL;
        size_t size;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read(path, BUNDLE_JSON_MAX, &text, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot read '%s'", path);
        buf_addf(body, "%s\"%s\":", body->size > 1 ? "," : "", parts[part].name);
        buf_add(body, text, size);
        return 0;
}

static int bundle_load(struct bundle *b)
{
        _cleanup_buf_ struct buf body = {0};
        struct http_blob *blob;
        uint8_t hash[16];
        char hex[2 * sizeof(hash) + 1];
        int r = 0;

        buf_add_string(&body, "{");
        for (enum bundle_part p = 0; p < _BUNDLE_PART_MAX && r == 0; p++)
                r = part_read(b, p, &body);
        buf_add_string(&body, "}");
        if (r == 0)
                r = buf_error(&body);
        blob = r < 0 ? NULL : http_blob_new(body.data, body.size);
        if (!blob)
                return r < 0 ? r : -ENOMEM;
        crypto_generichash(hash, sizeof(hash), body.data, body.size, NULL, 0);
        hex_encode(hash, sizeof(hash), hex);
        http_blob_unref(b->body);
        b->body = blob;
        snprintf(b->etag, sizeof(b->etag), "\"%s\"", hex);
        return 0;
}

static void answer(struct bundle *b, struct http_request *req, unsigned spread_s, bool changed)
{
        char spread[12];
        struct http_response response = {
                .status = changed ? 200 : 304,
                .headers = {{"etag", b->etag}, {"x-onchannel-spread", spread}, {"cache-control", "no-store"}},
        };

        snprintf(spread, sizeof(spread), "%u", spread_s);
        if (changed) {
                response.type = "application/json";
                response.blob = http_blob_ref(b->body);
                response.body = b->body->data;
                response.size = b->body->size;
        }
        http_respond(req, &response);
}

static void poll_free(struct poll *p)
{
        if (p->prev)
                p->prev->next = p->next;
        else
                p->bundle->polls = p->next;
        if (p->next)
                p->next->prev = p->prev;
        free(p);
}

static void poll_finish(struct poll *p, bool changed)
{
        answer(p->bundle, p->req, p->spread_s, changed);
        poll_free(p);
}

static void on_poll_deadline(struct http_request *req)
{
        poll_finish(req->held, false);
}

static void on_poll_gone(struct http_request *req)
{
        poll_free(req->held);
}

void bundle_answer(struct bundle *b, struct http_request *req, unsigned wait_s, unsigned spread_s)
{
        const char *known = req->field[HTTP_IF_NONE_MATCH];
        struct poll *p;

        if (!known || strcmp(known, b->etag) != 0) {
                answer(b, req, spread_s, true);
                return;
        }
        p = wait_s > 0 ? calloc(1, sizeof(*p)) : NULL;
        if (!p) {
                answer(b, req, spread_s, false);
                return;
        }
        *p = (struct poll){.bundle = b, .next = b->polls, .req = req, .spread_s = spread_s};
        if (p->next)
                p->next->prev = p;
        b->polls = p;
        req->held = p;
        http_hold(req, http_now_ms(req) + wait_s * 1000ull, on_poll_deadline, on_poll_gone);
}

static void bundle_changed(void *userdata, uint32_t events)
{
        struct bundle *b = userdata;
        char drain[4096], old[sizeof(b->etag)];

        while (read(b->watch_fd, drain, sizeof(drain)) > 0)
                continue;
        strcpy(old, b->etag);
        if (bundle_load(b) < 0) {
                log_line(LOG_ERR, "'%s': the bundle in force stays", b->dir);
                return;
        }
        if (strcmp(old, b->etag) == 0)
                return;
        log_line(LOG_INFO, "new bundle %s for agents", b->etag);
        while (b->polls)
                poll_finish(b->polls, true);
}

int bundle_open(struct loop *l, const char *dir, struct bundle **ret, struct diag *reterr)
{
        struct bundle *b = calloc(1, sizeof(*b));
        _cleanup_fd_ int fd = -1;
        int r;

        if (!b)
                return -ENOMEM;
        b->loop = l;
        b->dir = strdup(dir);
        fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        r = !b->dir ? -ENOMEM : fd < 0 || inotify_add_watch(fd, dir, IN_MOVED_TO | IN_DELETE) < 0 ? -errno : 0;
        if (r == 0)
                r = bundle_load(b);
        if (r == 0)
                r = loop_add_io(l, fd, EPOLLIN, bundle_changed, b, &b->watch);
        if (r < 0) {
                bundle_free(b);
                return diag_set(reterr, r, dir, 0, "cannot be watched: %s", strerror(-r));
        }
        b->watch_fd = TAKE_FD(fd);
        *ret = b;
        return 0;
}

void bundle_stop(struct bundle *b)
{
        while (b->polls)
                poll_finish(b->polls, false);
}

void bundle_free(struct bundle *b)
{
        if (!b)
                return;
        loop_source_close(b->watch);
        http_blob_unref(b->body);
        free(b->dir);
        free(b);
}
