/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/witness.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"

#define TIMEOUT_S  30L
#define ANSWER_MAX (NOTE_MAX_BYTES > MERKLE_TILE_BYTES ? NOTE_MAX_BYTES : MERKLE_TILE_BYTES)

static int fail(struct witness *w, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct witness *w, int r, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(w->error, sizeof(w->error), format, ap);
        va_end(ap);
        return r;
}

static int call(struct witness *w, const char *path, const struct buf *post, struct buf *ret)
{
        const struct fetch_request q = {.path = path, .post = post, .timeout_s = TIMEOUT_S, .max = ANSWER_MAX};
        int r = fetch_call(&w->fetch, &q, ret);

        return r < 0 ? fail(w, r, "%s", w->fetch.error) : 0;
}

static int fetch_tile(void *userdata, const struct merkle_tile *t, uint8_t *ret)
{
        struct witness *w = userdata;
        _cleanup_buf_ struct buf tile = {0};
        char path[1 + MERKLE_PATH_MAX] = "/";
        int r;

        merkle_tile_path(t, path + 1);
        r = call(w, path, NULL, &tile);
        if (r == 0 && tile.size != (size_t)t->width * MERKLE_HASH_SIZE)
                r = fail(w, -EBADMSG, "%s%s is not of the right size", w->fetch.base, path);
        if (r == 0)
                memcpy(ret, tile.data, tile.size);
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
        _cleanup_buf_ struct buf out = {0}, answer = {0};
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
        return w->submit ? call(w, "/cosignature", &out, &answer) : 0;
}

int witness_round(struct witness *w, uint64_t now_s)
{
        _cleanup_free_ char *old = NULL, *fork = format_new("%s.fork", w->state);
        _cleanup_buf_ struct buf note = {0};
        struct checkpoint new;
        int r;

        if (fork && access(fork, F_OK) == 0)
                return fail(w, -EILSEQ, "THE LOG WAS FORKED: see '%s'; nothing is cosigned until that file is gone",
                            fork);
        r = state_read(w, &old);
        if (r == 0)
                r = call(w, "/checkpoint", NULL, &note);
        if (r == 0 && checkpoint_open((const char *)note.data, note.size, &w->log, &new) < 0)
                r = fail(w, -EBADMSG, "%s/checkpoint is not signed by %s", w->fetch.base, w->log.name);
        if (r == 0 && old)
                r = check_growth(w, &new, old, (const char *)note.data);
        if (r == 0)
                r = cosign(w, (const char *)note.data, note.size, now_s);
        if (r == 0)
                w->last = new;
        return r;
}
