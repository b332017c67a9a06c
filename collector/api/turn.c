/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Commits and housekeeping, in a thread of their own. One piece of work at a time has the loop's database connection;
 * what needs it meanwhile waits here and is then done together, so that a slow commit makes the next one larger. */
#include <errno.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "collector/api/private.h"

#define WAIT_MS    5000 /* for the store; then 503, and the agent keeps what it has */
#define PURGE_ROWS 2000 /* a minute, on SQLite */
#define TIDY_EVERY 60 /* minutes */

struct waiting {
        struct turn_wait wait;
        struct http_request *req; /* NULL: gone, or told to come again */
        http_fn fn;
};

/* ---- in the thread ---- */

static void work_minute(struct api *a)
{
        struct store_purge p;
        int r = 0;

        findings_silence(a);
        if (a->turn.minutes++ % TIDY_EVERY == 0)
                r = store_tidy(a->store, clock_utc_ms());
        if (r == 0)
                r = store_commit(a->store); /* what follows commits, or fails, by itself */
        if (r == 0)
                r = store_purge(a->store, clock_utc_ms(), PURGE_ROWS, &p);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot tidy the store, ignoring");
        else if (p.month && p.n_gone > 0)
                log_line(LOG_INFO, "retention: %llu records of %lld removed", (unsigned long long)p.n_gone,
                         (long long)p.month);
}

static int commit(struct api *a)
{
        int r = store_commit(a->store);

        if (r < 0 && !a->turn.answers) /* else those are told, and that is logged */
                log_errno(LOG_ERR, r, "the store lost what was written last");
        return r;
}

static void work_due(struct api *a, unsigned work)
{
        if (work & TURN_SEEN)
                agents_flush_seen(a);
        if (work & TURN_MINUTE)
                work_minute(a);
        if (commit(a) == 0 && (work & (TURN_LOG | TURN_CHECKPOINT)))
                log_tick(a, work & TURN_CHECKPOINT);
}

static void turn_run(struct worker_job *job)
{
        struct turn *t = (struct turn *)job;

        struct timespec from, to;

        store_may_connect(t->api->store, true);
        clock_gettime(CLOCK_MONOTONIC, &from);
        if (t->doing & TURN_COMMIT)
                t->r = commit(t->api);
        else
                work_due(t->api, t->doing);
        clock_gettime(CLOCK_MONOTONIC, &to);
        t->seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        store_may_connect(t->api->store, false);
}

/* ---- on the loop ---- */

static void start(struct turn *t, unsigned work)
{
        t->doing = work;
        t->due &= ~work;
        t->since_ms = loop_now_ms(t->api->loop);
        if (worker_add(t->thread, &t->job) < 0)
                log_line(LOG_ERR, "the store's thread takes no work"); /* its queue has room for one */
}

static void waiting_run(struct turn *t)
{
        while (t->first && !t->doing && !t->due) { /* one that has just asked for work waits for it */
                struct turn_wait *w = t->first;

                if (!(t->first = w->next))
                        t->last = &t->first;
                w->run(w);
        }
}

static void turn_done(struct worker_job *job)
{
        struct turn *t = (struct turn *)job;
        unsigned did = t->doing;
        struct pending *answers = t->answers;

        t->doing = 0;
        t->answers = NULL;
        if (did & TURN_COMMIT) {
                commit_count(&t->api->counters, t->seconds, t->r);
                reply_pending(answers, t->r);
        }
        if (did & TURN_LOG) {
                t->log_size = t->api->log ? tlog_size(t->api->log) : 0;
                bundle_tick(t->api->bundle);
                retired_close(t->api);
        }
        if (t->due && !t->closing)
                start(t, t->due);
        else
                waiting_run(t);
}

static bool has_written(const struct api *a)
{
        return a->pending || db_in_transaction(store_db(a->store));
}

void turn_end(void *userdata)
{
        struct api *a = userdata;
        struct turn *t = &a->turn;

        if (t->doing)
                return;
        if (!has_written(a) && !t->due)
                waiting_run(t);
        if (has_written(a)) {
                t->answers = a->pending;
                a->pending = NULL;
                start(t, TURN_COMMIT);
        } else if (t->due) {
                start(t, t->due);
        }
}

bool turn_is_idle(const struct api *a)
{
        return !a->turn.doing && !a->turn.due && !has_written(a);
}

void turn_wait(struct api *a, struct turn_wait *w)
{
        w->next = NULL;
        *a->turn.last = w;
        a->turn.last = &w->next;
}

static void waiting_go(struct turn_wait *wait)
{
        struct waiting *w = (struct waiting *)wait;
        struct http_request *req = w->req;
        http_fn fn = w->fn;

        free(w);
        if (!req)
                return;
        http_hold(req, UINT64_MAX, NULL, NULL);
        fn(req);
}

static void waiting_gone(struct http_request *req)
{
        ((struct waiting *)req->held)->req = NULL;
}

static void reply_busy(struct http_request *req)
{
        reply_json_with(req, 503, json_pack("{s:s}", "error", "the store does not take it at the moment"),
                        &(struct http_header){"retry-after", "10"});
}

static void waiting_late(struct http_request *req)
{
        waiting_gone(req);
        reply_busy(req);
}

void turn_after(struct http_request *req, unsigned work, http_fn fn)
{
        struct api *a = api_of(req);
        struct waiting *w = calloc(1, sizeof(*w));

        if (!w) {
                http_respond_error(req, 503, "no memory");
                return;
        }
        a->turn.due |= work;
        *w = (struct waiting){{NULL, waiting_go}, req, fn};
        turn_wait(a, &w->wait);
        req->held = w;
        http_hold(req, http_now_ms(req) + WAIT_MS, waiting_late, waiting_gone);
}

void turn_enter(struct http_request *req, http_fn fn)
{
        const struct turn *t = &api_of(req)->turn;

        if (!t->doing)
                fn(req);
        else if (http_now_ms(req) > t->since_ms + WAIT_MS)
                reply_busy(req);
        else
                turn_after(req, 0, fn);
}

int turn_init(struct api *a)
{
        a->turn = (struct turn){.job = {.run = turn_run, .done = turn_done}, .api = a};
        a->turn.last = &a->turn.first;
        store_may_connect(a->store, false);
        db_stop_on(store_db(a->store), &a->turn.late);
        return worker_new(a->loop, &a->turn.thread);
}

void turn_done_all(struct api *a)
{
        if (!a->turn.thread)
                return;
        a->turn.closing = true;
        __atomic_store_n(&a->turn.late, a->turn.doing != 0, __ATOMIC_RELAXED);
        worker_free(a->turn.thread);
        a->turn.thread = NULL;
        waiting_run(&a->turn);
        db_stop_on(store_db(a->store), NULL);
}
