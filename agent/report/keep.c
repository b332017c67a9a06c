/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the journal is: in STATE, or in RUNTIME while STATE is read-only. The one in RUNTIME, when there is one, has all
 * that the other had: it is made by moving that there, and goes once everything is back. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "agent/report/write.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "spool/spool.h"

#define JOURNAL "%s/collected"
#define FRESH   JOURNAL ".new"

static struct journal *read_in(const char *folder)
{
        _cleanup_free_ char *path = format_new(JOURNAL, folder);
        struct journal *j = NULL;

        return path && journal_open(path, &j) >= 0 ? j : NULL;
}

/* Left behind by an agent that was killed: its window goes on. */
static int take_collected(const struct journal_slot *s, int slot, void *userdata)
{
        struct report *r = userdata;
        struct collected *e;
        int k;

        k = collapse_add(&r->collapse, &s->violation, clock_monotonic_ms(), &e);
        if (k < 0) {
                r->losses.refused += s->violation.count;
                return k;
        }
        e->policy_serial = s->policy_serial;
        e->slot = slot;
        e->last_event_ns = e->doubtful_event_ns = s->last_event_ns;
        if (s->seq)
                collapse_recorded(&r->collapse, e, s->seq);
        return 0;
}

/* ---- what has its record ---- */

void keep_has_record(struct report *r, struct collected *e)
{
        if (e->slot < 0) {
                r->losses.unkept -= e->violation.count;
                journal_put_losses(r->journal, &r->losses, NULL, 0);
        }
        e->violation.count = e->seq = 0;
        journal_update(r->journal, e);
}

int keep_sealed(struct report *r)
{
        int k = spool_seal(r->spool);
        uint64_t next_seq = spool_state(r->spool)->next_seq;
        struct collected *e, **link = &r->collapse.unsealed;

        while ((e = *link)) {
                if (e->seq < next_seq && k < 0) { /* it is there, and may be lost yet */
                        link = &e->next_unsealed;
                        continue;
                }
                *link = e->next_unsealed;
                if (e->seq < next_seq) {
                        keep_has_record(r, e);
                } else { /* before another record has that number, which would seem to stand for these attempts */
                        e->seq = 0;
                        journal_update(r->journal, e);
                }
        }
        return k;
}

/* ---- from one folder to the other ---- */

/* What has a slot in the new one; -ENOSPC when something has none that had one. */
static int copy_collected(struct report *r, struct journal *to)
{
        struct journal_losses l = r->losses;
        int k = 0;

        l.unkept = 0;
        for (size_t i = 0; i < COLLAPSE_BUCKETS; i++)
                for (struct collected *e = r->collapse.buckets[i]; e; e = e->next_in_bucket) {
                        e->next_slot = journal_add(to, e);
                        if (e->next_slot >= 0)
                                continue;
                        l.unkept += e->violation.count;
                        k = e->slot >= 0 ? -ENOSPC : k;
                }
        if (!journal_put_losses(to, &l, NULL, 0) || journal_sync(to) < 0)
                return -EIO;
        return k;
}

/* Consumes `to`, which has the copy. */
static void go_on_in(struct report *r, struct journal *to)
{
        r->losses.unkept = 0;
        for (size_t i = 0; i < COLLAPSE_BUCKETS; i++)
                for (struct collected *e = r->collapse.buckets[i]; e; e = e->next_in_bucket) {
                        e->slot = e->next_slot;
                        r->losses.unkept += e->slot < 0 ? e->violation.count : 0;
                }
        journal_free(r->journal);
        r->journal = r->collapse.journal = to;
}

/* By rename(2): a kill leaves the old one or the new one, whole. */
static int move_to(struct report *r, const char *folder)
{
        _cleanup_free_ char *path = format_new(JOURNAL, folder), *fresh = format_new(FRESH, folder);
        bool in_runtime = folder == r->runtime_dir;
        struct journal *to = NULL;
        int k;

        if (!path || !fresh)
                return -ENOMEM;
        unlink(fresh);
        k = journal_open(fresh, &to);
        if (k < 0)
                return k;
        k = copy_collected(r, to);
        if (k == -ENOSPC && in_runtime) /* there is no better place */
                k = 0;
        if (k >= 0 && rename(fresh, path) < 0)
                k = -errno;
        if (k >= 0)
                k = file_sync_folder(path); /* before a record is: the old one has its attempts, too */
        if (k < 0) {
                unlink(fresh);
                journal_free(to);
                return k;
        }
        go_on_in(r, to);
        r->in_runtime = in_runtime;
        return 0;
}

void keep_look(struct report *r)
{
        _cleanup_free_ char *runtime = NULL;

        if (r->journal && !r->in_runtime && !journal_is_read_only(r->journal))
                return;
        if (move_to(r, r->state_dir) < 0) {
                if (r->runtime_dir && !r->in_runtime)
                        (void)move_to(r, r->runtime_dir);
                return;
        }
        runtime = r->runtime_dir ? format_new(JOURNAL, r->runtime_dir) : NULL;
        if (runtime)
                unlink(runtime);
}

void keep_losses(struct report *r)
{
        journal_put_losses(r->journal, &r->losses, NULL, 0);
        if (r->journal && journal_is_read_only(r->journal))
                keep_look(r);
}

/* The beginning of a move that a kill ended. */
static void sweep(const char *folder)
{
        _cleanup_free_ char *fresh = folder ? format_new(FRESH, folder) : NULL;

        if (fresh)
                unlink(fresh);
}

int keep_open(struct report *r)
{
        _cleanup_free_ char *runtime = r->runtime_dir ? format_new(JOURNAL, r->runtime_dir) : NULL;
        uint64_t next_seq = spool_state(r->spool)->next_seq;

        if (r->runtime_dir && !runtime)
                return -ENOMEM;
        sweep(r->state_dir);
        sweep(r->runtime_dir);
        r->journal = runtime && access(runtime, F_OK) == 0 ? read_in(r->runtime_dir) : NULL;
        r->in_runtime = r->journal != NULL;
        if (!r->journal)
                r->journal = read_in(r->state_dir);
        r->collapse.journal = r->journal;
        if (r->journal) {
                journal_get_losses(r->journal, next_seq, &r->losses);
                journal_restore(r->journal, take_collected, r);
        }
        (void)keep_sealed(r); /* on a read-only disk that waits */
        journal_put_losses(r->journal, &r->losses, NULL, 0);
        keep_look(r);
        return 0;
}
