/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/witness.h"
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"

#define TIMEOUT_S 30L

static int fail(struct witness *w, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct witness *w, int r, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(w->error, sizeof(w->error), format, ap);
        va_end(ap);
        return r;
}

/* ---- HTTP ---- */

struct answer {
        struct buf body;
        size_t max;
};

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
        struct answer *a = userdata;

        if (a->body.size + size * n > a->max)
                return 0;
        buf_add(&a->body, data, size * n);
        return buf_error(&a->body) < 0 ? 0 : n;
}

static inline void easy_freep(CURL **c)
{
        curl_easy_cleanup(*c);
}

static int call(struct witness *w, const char *path, const struct buf *post, struct answer *a)
{
        _cleanup_(easy_freep) CURL *c = curl_easy_init();
        _cleanup_free_ char *url = format_new("%s/%s", w->url, path);
        char error[CURL_ERROR_SIZE] = "";
        long status = 0;
        CURLcode code;

        if (!c || !url)
                return fail(w, -ENOMEM, "no memory");
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
        curl_easy_setopt(c, CURLOPT_TIMEOUT, TIMEOUT_S);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
        if (w->ca)
                curl_easy_setopt(c, CURLOPT_CAINFO, w->ca);
        if (post) {
                curl_easy_setopt(c, CURLOPT_POSTFIELDS, post->data);
                curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)post->size);
        }
        code = curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
        if (code != CURLE_OK)
                return fail(w, -EIO, "%s: %s", url, *error ? error : curl_easy_strerror(code));
        if (status != 200)
                return fail(w, -EIO, "%s: status %ld: %.200s", url, status, a->body.data ? (char *)a->body.data : "");
        return 0;
}

static int fetch_tile(void *userdata, const struct merkle_tile *t, uint8_t *ret)
{
        struct witness *w = userdata;
        struct answer a = {.max = MERKLE_TILE_BYTES};
        char path[MERKLE_PATH_MAX];
        int r;

        merkle_tile_path(t, path);
        r = call(w, path, NULL, &a);
        if (r == 0 && a.body.size != (size_t)t->width * MERKLE_HASH_SIZE)
                r = fail(w, -EBADMSG, "%s/%s is not of the right size", w->url, path);
        if (r == 0)
                memcpy(ret, a.body.data, a.body.size);
        buf_done(&a.body);
        return r;
}

/* ---- what it saw last ---- */

static int state_read(struct witness *w, char **ret_note)
{
        size_t size;
        int r = file_read(w->state, NOTE_MAX_BYTES, ret_note, &size);

        w->last = (struct checkpoint){0};
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return fail(w, r, "'%s': %s", w->state, strerror(-r));
        r = checkpoint_open(*ret_note, size, &w->log, &w->last);
        if (r == 0)
                r = note_verify(*ret_note, size, &w->key, NULL);
        return r < 0 ? fail(w, -EBADMSG, "'%s' is not a checkpoint that this witness cosigned", w->state) : 0;
}

static int forked(struct witness *w, const char *old, const char *new, const char *why)
{
        _cleanup_free_ char *path = format_new("%s.fork", w->state), *text = format_new("%s\n%s", old, new);
        int r = path && text ? file_write_atomic(path, text, strlen(text), 0644) : -ENOMEM;

        return fail(w, -EILSEQ,
                    "THE LOG WAS FORKED: %s. Both of its signed states are in %s.fork%s: whoever runs the collector "
                    "cannot "
                    "have signed both honestly",
                    why, w->state, r < 0 ? " (which could not be written)" : "");
}

static int check_growth(struct witness *w, const struct checkpoint *new, const char *old_note, const char *new_note)
{
        _cleanup_free_ struct merkle_tree *t = calloc(1, sizeof(*t));
        struct merkle_proof p;
        char why[160];
        int r;

        if (!t)
                return fail(w, -ENOMEM, "no memory");
        if (new->head.size < w->last.head.size) {
                snprintf(why, sizeof(why), "it had %" PRIu64 " entries and has %" PRIu64, w->last.head.size,
                         new->head.size);
                return forked(w, old_note, new_note, why);
        }
        *t = (struct merkle_tree){.fn = fetch_tile, .userdata = w, .size = new->head.size};
        r = merkle_consistency(t, w->last.head.size, new->head.size, &p);
        if (r < 0)
                return r;
        if (merkle_consistency_verify(&w->last.head, &new->head, &p) == 0)
                return 0;
        snprintf(why, sizeof(why), "its %" PRIu64 " entries do not begin with the %" PRIu64 " of before",
                 new->head.size, w->last.head.size);
        return forked(w, old_note, new_note, why);
}

static int cosign(struct witness *w, const char *note, size_t size, uint64_t now_s)
{
        _cleanup_buf_ struct buf out = {0};
        struct answer a = {.max = NOTE_MAX_BYTES};
        size_t text_size;
        int r = note_text(note, size, &text_size);

        if (r < 0)
                return r;
        r = note_keep(note, size, w->log.name, &out); /* no other witness's line, nor this one's of before */
        if (r < 0)
                return fail(w, r, "the checkpoint cannot be read");
        note_sign(&out, note, text_size, &w->key, w->secret, now_s);
        if (buf_error(&out) < 0)
                return fail(w, -ENOMEM, "no memory");
        /* first remembered, then given away */
        r = file_write_atomic(w->state, out.data, out.size, 0644);
        if (r < 0)
                return fail(w, r, "'%s': %s", w->state, strerror(-r));
        if (w->submit)
                r = call(w, "cosignature", &out, &a);
        buf_done(&a.body);
        return r;
}

int witness_round(struct witness *w, uint64_t now_s)
{
        _cleanup_free_ char *old = NULL, *fork = format_new("%s.fork", w->state);
        struct answer a = {.max = NOTE_MAX_BYTES};
        struct checkpoint new;
        int r;

        if (fork && access(fork, F_OK) == 0)
                return fail(w, -EILSEQ, "THE LOG WAS FORKED: see '%s'; nothing is cosigned until that file is gone",
                            fork);
        r = state_read(w, &old);
        if (r == 0)
                r = call(w, "checkpoint", NULL, &a);
        if (r == 0 && checkpoint_open((const char *)a.body.data, a.body.size, &w->log, &new) < 0)
                r = fail(w, -EBADMSG, "%s/checkpoint is not signed by %s", w->url, w->log.name);
        if (r == 0 && old)
                r = check_growth(w, &new, old, (const char *)a.body.data);
        if (r == 0)
                r = cosign(w, (const char *)a.body.data, a.body.size, now_s);
        if (r == 0)
                w->last = new;
        buf_done(&a.body);
        return r;
}
