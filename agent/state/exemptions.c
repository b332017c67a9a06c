/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/state/exemptions.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/state/ledger.h"
#include "agent/state/store.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define FOLDER_FILES_MAX 1024 /* looked at in a folder that others write */
#define REVOKED_FOR_S    (2 * EXEMPTION_DAYS_MAX * 86400l) /* an id without an end is remembered so long at least */

static void held_done(struct held *h)
{
        exemption_free(h->exemption);
        free(h->text);
        free(h->minisig);
        *h = (struct held){0};
}

struct exemptions *exemptions_free(struct exemptions *x)
{
        if (!x)
                return NULL;
        for (size_t i = 0; i < x->n; i++)
                held_done(&x->list[i]);
        for (size_t i = 0; i < x->n_ledger; i++)
                free(x->ledger[i]);
        free(x->folder);
        free(x->device_name);
        free(x->device_id);
        free(x);
        return NULL;
}
DEFINE_CLEANUP(struct exemptions, exemptions_free)

int exemptions_new(const struct exemptions_options *o, struct exemptions **ret, struct diag *reterr)
{
        _cleanup_(exemptions_freep) struct exemptions *x = calloc(1, sizeof(*x));
        int r;

        if (!x)
                return -ENOMEM;
        x->folder = format_new("%s/exemptions", o->state_dir);
        x->device_name = strdup(o->device_name);
        x->device_id = strdup(o->device_id);
        if (!x->folder || !x->device_name || !x->device_id)
                return -ENOMEM;
        snprintf(x->boot, sizeof(x->boot), "%s", o->boot_id);
        r = ledger_read(x, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(x);
        return 0;
}

/* ---- verification ---- */

struct candidate {
        struct exemption *exemption;
        struct trust_verdict verdict;
};

static void candidate_done(struct candidate *c)
{
        exemption_free(c->exemption);
}

/* A break-glass token may be signed by a policy key: the role that is there when nobody can be asked. */
static int verify(const struct trust_ring *ring, const struct trust_file *f, time_t now, struct trust_verdict *ret,
                  struct diag *reterr)
{
        static const char glass[] = "onchannel break-glass ";
        int r;

        r = trust_ring_verify(ring, TRUST_ROLE_EXEMPTION, f, now, ret, reterr);
        if (r != -ENOKEY || trust_ring_verify(ring, TRUST_ROLE_POLICY, f, now, ret, NULL) < 0)
                return r;
        return text_starts_with(ret->comment, glass) ? 0 : r;
}

static int candidate_read(const struct trust_ring *ring, const struct trust_file *f, time_t now,
                          struct candidate *ret, struct diag *reterr)
{
        int r;

        if (f->size > EXEMPTION_MAX_BYTES)
                return diag_set(reterr, -E2BIG, f->name, 0, "larger than %u bytes", EXEMPTION_MAX_BYTES);
        r = verify(ring, f, now, &ret->verdict, reterr);
        if (r >= 0)
                r = exemption_parse(f->data, f->size, f->name, &ret->exemption, reterr);
        if (r >= 0)
                r = exemption_comment_check(ret->exemption, ret->verdict.comment, f->name, reterr);
        if (r >= 0 && ret->exemption->until && ret->verdict.signed_at > ret->exemption->until)
                r = diag_set(reterr, -EBADMSG, f->name, 0,
                             "signed after its end: was the clock right where it was signed?");
        return r;
}

/* ---- what is held ---- */

static struct held *find_held(struct exemptions *x, const char *id)
{
        for (size_t i = 0; i < x->n; i++)
                if (!strcmp(x->list[i].exemption->id, id))
                        return &x->list[i];
        return NULL;
}

static int held_file(const struct exemptions *x, const char *id, const char *suffix, char **ret)
{
        *ret = format_new("%s/%s.ini%s", x->folder, id, suffix);
        return *ret ? 0 : -ENOMEM;
}

static void drop(struct exemptions *x, struct held *h)
{
        _cleanup_free_ char *file = NULL, *minisig = NULL;

        if (held_file(x, h->exemption->id, "", &file) >= 0)
                unlink(file);
        if (held_file(x, h->exemption->id, ".minisig", &minisig) >= 0)
                unlink(minisig);
        held_done(h);
        *h = x->list[--x->n];
}

static void tell(const struct exemptions *x, enum exemptions_event event, const struct held *h)
{
        if (x->handler)
                x->handler(event, h, x->userdata);
}

/* Before its time, for ever. */
static void end(struct exemptions *x, struct held *h)
{
        term_end(&h->entry->term);
        tell(x, EXEMPTIONS_REVOKED, h);
        drop(x, h);
}

void exemptions_revoke(struct exemptions *x, const char *id, const struct term_clock *c)
{
        struct held *h = find_held(x, id);
        struct ledger_entry *e;

        if (h) {
                end(x, h);
                return;
        }
        e = ledger_find(x, id);
        if (!e && (e = ledger_add(x, id)))
                e->term.until = c->now + REVOKED_FOR_S;
        if (e)
                term_end(&e->term);
}

static int keep_files(const struct exemptions *x, const char *id, const struct trust_file *f)
{
        _cleanup_free_ char *file = NULL, *minisig = NULL;
        int r;

        r = held_file(x, id, "", &file);
        if (r >= 0)
                r = held_file(x, id, ".minisig", &minisig);
        if (r >= 0)
                r = dir_make(x->folder, 0700);
        if (r >= 0)
                r = file_write_atomic(minisig, f->minisig, f->minisig_size, 0600);
        return r < 0 ? r : file_write_atomic(file, f->data, f->size, 0600);
}

static int hold(struct exemptions *x, struct candidate *c, const struct trust_file *f, struct ledger_entry *e)
{
        struct held h = {.entry = e,
                         .text = strndup(f->data, f->size),
                         .minisig = strndup(f->minisig, f->minisig_size),
                         .size = f->size,
                         .signed_at = c->verdict.signed_at};

        if (!h.text || !h.minisig) {
                held_done(&h);
                return -ENOMEM;
        }
        h.exemption = TAKE_PTR(c->exemption);
        strcpy(h.signer, c->verdict.signer);
        x->list[x->n++] = h;
        return 0;
}

/* Room in the list and in the ledger for one that is new. */
static int admit(struct exemptions *x, struct candidate *c, const struct trust_file *f, bool again,
                 struct diag *reterr)
{
        const struct exemption *e = c->exemption;
        const struct held *h = find_held(x, e->id);
        struct ledger_entry *entry = ledger_find(x, e->id);
        int r;

        if (h && h->size == f->size && !memcmp(h->text, f->data, f->size))
                return diag_set(reterr, -EALREADY, f->name, 0, "'%s' is held already", e->id);
        if (h)
                return diag_set(reterr, -EEXIST, f->name, 0, "another one has the id '%s': each needs its own",
                                e->id);
        if (entry && entry->term.state == TERM_ENDED)
                return diag_set(reterr, -ESTALE, f->name, 0, "'%s' has ended or was revoked; it needs a new id",
                                e->id);
        if (x->n == EXEMPTIONS_MAX)
                return diag_set(reterr, -ENOSPC, f->name, 0, "more than %d exemptions on this device",
                                EXEMPTIONS_MAX);
        if (!entry && !(entry = ledger_add(x, e->id)))
                return -ENOMEM;
        if (entry->term.until == 0)
                entry->term = (struct term){.from = e->from, .until = e->until};
        else if (entry->term.until != e->until || entry->term.from != e->from)
                return diag_set(reterr, -EEXIST, f->name, 0, "another one had the id '%s': each needs its own",
                                e->id);
        r = again ? 0 : keep_files(x, e->id, f);
        return r < 0 ? diag_set(reterr, r, f->name, 0, "cannot be kept: %s", strerror(-r)) : hold(x, c, f, entry);
}

static int take(struct exemptions *x, const struct trust_ring *ring, const struct trust_file *f,
                const struct term_clock *k, bool again, struct diag *reterr)
{
        _cleanup_(candidate_done) struct candidate c = {0};
        int r;

        r = candidate_read(ring, f, k->now, &c, reterr);
        if (r < 0)
                return r;
        if (c.exemption->kind == EXEMPTION_REVOCATION) {
                for (char **id = c.exemption->revokes; *id; id++)
                        exemptions_revoke(x, *id, k);
                return 0;
        }
        if (!exemption_has_device(c.exemption, x->device_name, x->device_id))
                return diag_set(reterr, -ENODEV, f->name, 0, "'%s' is for another device", c.exemption->id);
        return admit(x, &c, f, again, reterr);
}

int exemptions_take(struct exemptions *x, const struct trust_ring *ring, const struct trust_file *f,
                    const struct term_clock *c, struct diag *reterr)
{
        return take(x, ring, f, c, false, reterr);
}

void exemptions_recheck(struct exemptions *x, const struct trust_ring *ring, const struct term_clock *c)
{
        for (size_t i = x->n; i-- > 0;) {
                struct held *h = &x->list[i];
                const struct trust_file f = {h->exemption->id, h->text, h->size, h->minisig, strlen(h->minisig)};
                struct trust_verdict v;

                if (verify(ring, &f, c->now, &v, NULL) < 0)
                        end(x, h);
        }
}

/* ---- folders ---- */

static int is_ini(const struct dirent *d)
{
        return text_ends_with(d->d_name, ".ini") && d->d_name[0] != '.';
}

static int take_file(struct exemptions *x, const char *path, const struct trust_ring *ring,
                     const struct term_clock *c, bool again, struct diag *reterr)
{
        _cleanup_free_ char *sig = format_new("%s.minisig", path), *text = NULL, *minisig = NULL;
        size_t size, minisig_size;
        int r;

        if (!sig)
                return -ENOMEM;
        r = store_read_plain(path, EXEMPTION_MAX_BYTES, &text, &size);
        if (r == -ENOENT) /* taken away since the folder was read */
                return -EALREADY;
        if (r < 0)
                return diag_set(reterr, r, path, 0, r == -EFBIG ? "larger than %u bytes" : "cannot be read",
                                EXEMPTION_MAX_BYTES);
        r = store_read_plain(sig, TRUST_SIGNATURE_MAX_BYTES, &minisig, &minisig_size);
        if (r < 0)
                return diag_set(reterr, -ENOKEY, path, 0, "not signed: '%s' is missing or too large", sig);
        return take(x, ring, &(struct trust_file){path, text, size, minisig, minisig_size}, c, again, reterr);
}

static void take_all(struct exemptions *x, const char *folder, const struct trust_ring *ring,
                     const struct term_clock *c, exemptions_refused refused)
{
        struct dirent **names = NULL;
        int n = scandir(folder, &names, is_ini, alphasort);

        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = format_new("%s/%s", folder, names[i]->d_name);
                struct diag d = {0};
                int r = path && i < FOLDER_FILES_MAX ? take_file(x, path, ring, c, !refused, &d) : 0;

                if (r < 0 && r != -EALREADY && r != -ENODEV && r != -ESTALE && refused)
                        refused(&d, x->userdata);
                free(names[i]);
        }
        free(names);
}

void exemptions_load(struct exemptions *x, const struct trust_ring *ring, const struct term_clock *c)
{
        take_all(x, x->folder, ring, c, NULL);
}

void exemptions_take_folder(struct exemptions *x, const char *folder, const struct trust_ring *ring,
                            const struct term_clock *c, exemptions_refused refused)
{
        take_all(x, folder, ring, c, refused);
}

/* ---- time ---- */

static bool update_one(struct exemptions *x, struct held *h, const struct term_clock *c)
{
        const struct term_clock own = {.now = trust_time(0, h->signed_at, c->now), .boottime_s = c->boottime_s};
        struct ledger_entry *e = h->entry;
        const bool before = held_is_in_force(h);

        if (strcmp(e->boot, x->boot)) /* CLOCK_BOOTTIME began anew */
                e->term.seen_s = 0;
        strcpy(e->boot, x->boot);
        term_update(&e->term, &own);
        if (held_is_in_force(h) && !before)
                tell(x, EXEMPTIONS_BEGAN, h);
        if (e->term.state == TERM_ENDED)
                tell(x, EXEMPTIONS_ENDED, h);
        return before != held_is_in_force(h);
}

bool exemptions_update(struct exemptions *x, const struct term_clock *c)
{
        bool changed = false;

        for (size_t i = x->n; i-- > 0;) {
                struct held *h = &x->list[i];

                changed |= update_one(x, h, c);
                if (h->entry->term.state == TERM_ENDED)
                        drop(x, h);
        }
        return changed;
}

void exemptions_next(const struct exemptions *x, uint64_t *ret_in_s, time_t *ret_at)
{
        uint64_t in_s = 0;
        time_t at = 0;

        for (size_t i = 0; i < x->n; i++) {
                const struct term *t = &x->list[i].entry->term;
                const time_t wall = t->state == TERM_FUTURE ? t->from : t->until;

                if (at == 0 || wall < at)
                        at = wall;
                if (t->state == TERM_IN_FORCE && (in_s == 0 || t->left_s < in_s))
                        in_s = t->left_s ? t->left_s : 1;
        }
        *ret_in_s = in_s;
        *ret_at = at;
}

const struct held *exemptions_glass(const struct exemptions *x)
{
        const struct held *longest = NULL;

        for (size_t i = 0; i < x->n; i++) {
                const struct held *h = &x->list[i];

                if (h->exemption->kind == EXEMPTION_BREAK_GLASS && held_is_in_force(h) &&
                    (!longest || h->entry->term.left_s > longest->entry->term.left_s))
                        longest = h;
        }
        return longest;
}

int exemptions_save(const struct exemptions *x)
{
        return ledger_write(x);
}
