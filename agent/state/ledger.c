/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/state/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ini.h"
#include "base/io.h"
#include "base/text.h"

struct ledger_entry *ledger_find(const struct exemptions *x, const char *id)
{
        for (size_t i = 0; i < x->n_ledger; i++)
                if (!strcmp(x->ledger[i]->id, id))
                        return x->ledger[i];
        return NULL;
}

/* The one whose end is the longest ago. What is in force or to come is never forgotten. */
static size_t find_oldest(const struct exemptions *x)
{
        size_t oldest = x->n_ledger;

        for (size_t i = 0; i < x->n_ledger; i++)
                if (x->ledger[i]->term.state == TERM_ENDED &&
                    (oldest == x->n_ledger || x->ledger[i]->term.until < x->ledger[oldest]->term.until))
                        oldest = i;
        return oldest;
}

struct ledger_entry *ledger_add(struct exemptions *x, const char *id)
{
        struct ledger_entry *e;
        size_t oldest;

        if (x->n_ledger == LEDGER_MAX) {
                oldest = find_oldest(x);
                if (oldest == x->n_ledger)
                        return NULL;
                free(x->ledger[oldest]);
                x->ledger[oldest] = x->ledger[--x->n_ledger];
        }
        e = calloc(1, sizeof(*e));
        if (!e)
                return NULL;
        snprintf(e->id, sizeof(e->id), "%s", id);
        x->ledger[x->n_ledger++] = e;
        return e;
}

struct reader {
        struct exemptions *x;
        struct ledger_entry *entry; /* of the section */
};

static int set_number(struct ledger_entry *e, const char *name, const char *value)
{
        uint64_t n;

        if (parse_u64(value, INT64_MAX, &n) < 0)
                return -EBADMSG;
        if (!strcmp(name, "from"))
                e->term.from = (time_t)n;
        else if (!strcmp(name, "until"))
                e->term.until = (time_t)n;
        else if (!strcmp(name, "left"))
                e->term.left_s = n;
        else if (!strcmp(name, "seen"))
                e->term.seen_s = n;
        else if (!strcmp(name, "state") && n < _TERM_STATE_MAX)
                e->term.state = (enum term_state)n;
        else
                return -EBADMSG;
        return 0;
}

static int take(void *userdata, const char *section, const char *name, const char *value, unsigned line,
                struct diag *reterr)
{
        struct reader *t = userdata;
        int r = 0;

        if (!name) {
                if (!exemption_id_is_valid(section) || ledger_find(t->x, section) || t->x->n_ledger == LEDGER_MAX)
                        return diag_set(reterr, -EBADMSG, "ledger", line, "malformed section");
                t->entry = ledger_add(t->x, section);
                return t->entry ? 0 : -ENOMEM;
        }
        if (!t->entry)
                r = -EBADMSG;
        else if (!strcmp(name, "boot"))
                snprintf(t->entry->boot, sizeof(t->entry->boot), "%s", value);
        else
                r = set_number(t->entry, name, value);
        return r < 0 ? diag_set(reterr, r, "ledger", line, "malformed line '%s'", name) : 0;
}

int ledger_read(struct exemptions *x, struct diag *reterr)
{
        _cleanup_free_ char *path = format_new("%s/ledger", x->folder), *text = NULL;
        struct reader t = {.x = x};
        size_t size;
        int r;

        if (!path)
                return -ENOMEM;
        r = file_read(path, LEDGER_MAX_BYTES, &text, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return diag_set(reterr, r, path, 0, "%s", strerror(-r));
        return ini_parse_text(text, size, path, take, &t, reterr);
}

int ledger_write(const struct exemptions *x)
{
        _cleanup_free_ char *path = format_new("%s/ledger", x->folder);
        _cleanup_buf_ struct buf b = {0};
        int r;

        for (size_t i = 0; i < x->n_ledger; i++) {
                const struct ledger_entry *e = x->ledger[i];

                buf_addf(&b,
                         "[%s]\nstate = %d\nfrom = %" PRIi64 "\nuntil = %" PRIi64 "\nleft = %" PRIu64
                         "\nseen = %" PRIu64 "\n",
                         e->id, (int)e->term.state, (int64_t)e->term.from, (int64_t)e->term.until, e->term.left_s,
                         e->term.seen_s);
                if (*e->boot)
                        buf_addf(&b, "boot = %s\n", e->boot);
        }
        r = path ? buf_error(&b) : -ENOMEM;
        if (r >= 0)
                r = dir_make(x->folder, 0700);
        return r < 0 ? r : file_write_atomic(path, b.data ? b.data : (const void *)"", b.size, 0600);
}
