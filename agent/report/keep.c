/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the journal is: in STATE, or in RUNTIME while STATE is read-only. The one in RUNTIME, when there is one, has all
 * that the other had: it is made by moving that there, and goes once everything is back. */
#include <errno.h>
#include <unistd.h>
#include "agent/report/write.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "spool/spool.h"

#define JOURNAL "%s/collected"

static struct journal *read_in(const char *folder)
{
        _cleanup_free_ char *path = format_new(JOURNAL, folder);
        struct journal *j = NULL;

        return path && journal_open(path, &j) >= 0 ? j : NULL;
}

/* NULL where not even its page can be written. */
static struct journal *open_in(const struct report *r, const char *folder)
{
        struct journal *j = folder ? read_in(folder) : NULL;

        return j && !journal_put_losses(j, &r->losses, NULL, 0) ? journal_free(j) : j;
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
        if (s->seq) /* else another record of that number would seem to stand for these attempts */
                journal_update(r->journal, e);
        return 0;
}

static void copy_collected(struct report *r, struct journal *to)
{
        const struct collected_queue *const queues[] = {&r->collapse.settling, &r->collapse.window};

        journal_clear(to);
        r->losses.unkept = 0;
        for (size_t i = 0; i < ELEMENTSOF(queues); i++)
                for (struct collected *e = queues[i]->head; e; e = e->next_in_queue) {
                        e->slot = journal_add(to, e);
                        r->losses.unkept += e->slot < 0 ? e->violation.count : 0;
                }
        journal_put_losses(to, &r->losses, NULL, 0);
        journal_sync(to);
}

/* Consumes `to`. */
static void move_to(struct report *r, struct journal *to, bool in_runtime)
{
        _cleanup_free_ char *runtime = r->runtime_dir ? format_new(JOURNAL, r->runtime_dir) : NULL;

        copy_collected(r, to);
        journal_free(r->journal);
        r->journal = r->collapse.journal = to;
        r->in_runtime = in_runtime;
        if (!in_runtime && runtime)
                unlink(runtime);
}

void keep_look(struct report *r)
{
        struct journal *j;

        if (r->journal && !r->in_runtime && !journal_is_read_only(r->journal))
                return;
        j = open_in(r, r->state_dir);
        if (j) {
                move_to(r, j, false);
                return;
        }
        j = r->in_runtime ? NULL : open_in(r, r->runtime_dir);
        if (j)
                move_to(r, j, true);
}

void keep_losses(struct report *r)
{
        journal_put_losses(r->journal, &r->losses, NULL, 0);
        if (r->journal && journal_is_read_only(r->journal))
                keep_look(r);
}

int keep_open(struct report *r)
{
        _cleanup_free_ char *runtime = r->runtime_dir ? format_new(JOURNAL, r->runtime_dir) : NULL;
        uint64_t next_seq = spool_state(r->spool)->next_seq;

        if (r->runtime_dir && !runtime)
                return -ENOMEM;
        r->journal = runtime && access(runtime, F_OK) == 0 ? read_in(r->runtime_dir) : NULL;
        r->in_runtime = r->journal != NULL;
        if (!r->journal)
                r->journal = read_in(r->state_dir);
        r->collapse.journal = r->journal;
        if (r->journal) {
                journal_get_losses(r->journal, next_seq, &r->losses);
                journal_restore(r->journal, next_seq, take_collected, r);
        }
        journal_put_losses(r->journal, &r->losses, NULL, 0);
        keep_look(r);
        return 0;
}
