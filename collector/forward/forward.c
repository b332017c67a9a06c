/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/forward/forward.h"
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "collector/forward/private.h"

#define BATCH_ROWS       500
#define BATCH_BYTES      (1u << 20)
#define BATCH_DEVICES    64
#define POLL_MS          1000
#define LOCK_MS          5000 /* another collector forwards: look again */
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS   300000
#define RETRY_AFTER_MAX  3600

struct destination {
        const struct forward_config *config;
        const char *store;
        struct forward *forward;
        pthread_t thread;
        struct db *db;
        struct sender sender;
        bool locked;
        int64_t after; /* device: each gets its turn */
        unsigned limit; /* records a batch: less after a refusal, to find the one */
        unsigned failures; /* in a row */
        char problem[FORWARD_PROBLEM_MAX]; /* as logged and kept; "" none */

        /* the batch */
        struct forward_place places[BATCH_DEVICES];
        size_t n_places;
        struct buf body;
        unsigned n_rows;
};

struct forward {
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool stopping;
        struct destination *destinations;
        size_t n;
};

/* False when it is time to end. */
static bool forward_wait(struct forward *f, uint64_t ms)
{
        uint64_t until = clock_monotonic_ms() + ms;
        struct timespec t = {.tv_sec = (time_t)(until / 1000), .tv_nsec = (long)(until % 1000) * 1000000};
        bool stopping;

        pthread_mutex_lock(&f->lock);
        while (!f->stopping && ms > 0 && pthread_cond_timedwait(&f->wake, &f->lock, &t) == 0)
                ;
        stopping = f->stopping;
        pthread_mutex_unlock(&f->lock);
        return !stopping;
}

/* ---- the batch ---- */

struct filling {
        struct destination *d;
        uint64_t last; /* sequence number */
        unsigned n; /* rows read, also those that are not wanted */
};

static int on_row(const struct store_row *row, void *userdata)
{
        struct filling *f = userdata;
        const struct forward_config *c = f->d->config;

        f->last = row->seq;
        f->n++;
        if (row->time_ms < c->since_ms ||
            (!c->coverage && strcmp(row->kind, "violation") != 0 && strcmp(row->kind, "finding") != 0))
                return 0;
        form_add(c->form, row, &f->d->body);
        f->d->n_rows++;
        return f->d->body.size >= BATCH_BYTES ? -ENOBUFS : 0;
}

/* What one device has for the batch; its place then is behind that. Returns how many rows were read. */
static int fill_from(struct destination *d, struct forward_place *p, unsigned max)
{
        struct filling f = {.d = d};
        int r = p->device == FORWARD_FINDINGS ? forward_finding_rows(d->db, p, max, on_row, &f)
                                              : forward_rows(d->db, p, max, on_row, &f);

        if (r < 0 && r != -ENOBUFS)
                return r;
        p->next = r == -ENOBUFS || f.n == max ? f.last + 1 : p->end;
        return (int)f.n;
}

/* Findings first, then devices in turn. */
static int places_find(struct destination *d)
{
        int found = forward_findings(d->db, d->config->name, &d->places[0]);
        int n = found < 0 ? found
                          : forward_places(d->db, d->config->name, d->after, d->places + found,
                                           BATCH_DEVICES - (size_t)found);

        if (n == 0 && d->after > 0) {
                d->after = 0;
                n = forward_places(d->db, d->config->name, 0, d->places + found, BATCH_DEVICES - (size_t)found);
        }
        return n < 0 ? n : n + found;
}

static int batch_fill(struct destination *d)
{
        unsigned left = d->limit;
        int n = places_find(d);

        if (n < 0)
                return n;
        buf_done(&d->body);
        d->n_rows = 0;
        for (d->n_places = 0; d->n_places < (size_t)n && left > 0 && d->body.size < BATCH_BYTES; d->n_places++) {
                int r = fill_from(d, &d->places[d->n_places], left);

                if (r < 0)
                        return r;
                left -= (unsigned)r < left ? (unsigned)r : left;
        }
        return buf_error(&d->body);
}

/* ---- what came of it ---- */

static int state_put(struct destination *d, const struct forward_state *s)
{
        int r = forward_state_put(d->db, s);

        return r < 0 ? r : db_commit(d->db);
}

static void problem_set(struct destination *d, const char *text)
{
        struct forward_state s = {.problem_ms = clock_utc_ms()};

        if (strcmp(d->problem, text) == 0)
                return;
        snprintf(d->problem, sizeof(d->problem), "%s", text);
        log_line(LOG_WARNING, "forward %s: it does not go on", d->config->name);
        snprintf(s.name, sizeof(s.name), "%s", d->config->name);
        snprintf(s.problem, sizeof(s.problem), "%s", text);
        if (d->db && d->locked && state_put(d, &s) < 0)
                db_rollback(d->db);
}

static int batch_taken(struct destination *d, unsigned refused)
{
        struct forward_state s = {.sent = d->n_rows - refused, .refused = refused};
        int r = 0;

        snprintf(s.name, sizeof(s.name), "%s", d->config->name);
        s.sent_ms = s.sent > 0 ? clock_utc_ms() : 0;
        for (size_t i = 0; r == 0 && i < d->n_places; i++)
                r = forward_move(d->db, d->config->name, &d->places[i]);
        if (r == 0)
                r = state_put(d, &s);
        if (r < 0)
                return r;
        if (refused > 0)
                log_line(LOG_WARNING, "forward %s: refused for ever, records: %u", d->config->name, refused);
        if (*d->problem)
                log_line(LOG_INFO, "forward %s: works again", d->config->name);
        *d->problem = 0;
        d->after = d->places[d->n_places - 1].device;
        return 1;
}

/* 1 there may be more, 0 nothing to do, negative: not now */
static int batch_send(struct destination *d)
{
        unsigned refused = 0;
        int r = 0;

        if (d->n_places == 0)
                return 0;
        if (d->n_rows > 0)
                r = form_is_http(d->config->form) ? post_send(&d->sender, &d->body, &refused)
                                                  : stream_send(&d->sender, &d->body);
        if (r == -EBADMSG && d->n_rows > 1) {
                d->limit = d->n_rows / 2;
                return 1;
        }
        if (r == -EBADMSG)
                r = 0, refused = 1;
        if (r < 0)
                return r;
        d->limit = d->limit * 2 < BATCH_ROWS ? d->limit * 2 : BATCH_ROWS;
        return batch_taken(d, refused);
}

static int store_prepare(struct destination *d)
{
        struct diag diag = {0};
        int r = d->db ? 0 : db_open(d->store, 0, &d->db, &diag);

        if (r == 0)
                db_stop_on(d->db, &d->forward->stopping);
        if (r == 0 && !d->locked) {
                r = forward_lock(d->db, d->config->name);
                d->locked = r > 0;
                r = r > 0 ? 0 : r < 0 ? r : -EALREADY;
        }
        return r;
}

/* One batch, from the places that the database has. What batch_send() returns, or -EALREADY: another collector's. */
static int destination_turn(struct destination *d)
{
        int r = store_prepare(d);

        if (r == -EALREADY)
                return r;
        if (r == 0)
                r = batch_fill(d);
        if (r < 0) {
                problem_set(d, d->db ? db_error(d->db) : strerror(-r));
                db_free(d->db); /* and with it the lock */
                d->db = NULL;
                d->locked = false;
                return r;
        }
        r = batch_send(d);
        if (r == -EAGAIN)
                problem_set(d, d->sender.problem);
        else if (r < 0 && r != -ECANCELED)
                problem_set(d, db_error(d->db));
        if (r < 0)
                db_rollback(d->db);
        return r;
}

static uint64_t backoff_ms(struct destination *d)
{
        uint64_t max = d->failures < 9 ? (uint64_t)BACKOFF_FIRST_MS << d->failures : BACKOFF_MAX_MS;
        uint64_t asked = d->sender.retry_after_s < RETRY_AFTER_MAX ? d->sender.retry_after_s : RETRY_AFTER_MAX;

        d->failures++;
        max = max < BACKOFF_MAX_MS ? max : BACKOFF_MAX_MS;
        return asked * 1000 + 100 + randombytes_uniform((uint32_t)max);
}

static void *destination_run(void *userdata)
{
        struct destination *d = userdata;
        uint64_t wait_ms = 0;

        d->limit = BATCH_ROWS;
        while (forward_wait(d->forward, wait_ms)) {
                int r = destination_turn(d);

                if (r >= 0)
                        d->failures = 0;
                wait_ms = r > 0 ? 0 : r == 0 ? POLL_MS : r == -EALREADY ? LOCK_MS : backoff_ms(d);
        }
        sender_done(&d->sender);
        db_free(d->db);
        buf_done(&d->body);
        return NULL;
}

int forward_start(const char *store, const struct forward_configs *c, struct forward **ret, struct diag *reterr)
{
        struct forward *f = calloc(1, sizeof(*f));
        pthread_condattr_t clock;

        if (!f || !(f->destinations = calloc(c->n + 1, sizeof(*f->destinations)))) {
                free(f);
                return -ENOMEM;
        }
        curl_global_init(CURL_GLOBAL_DEFAULT);
        pthread_mutex_init(&f->lock, NULL);
        pthread_condattr_init(&clock);
        pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
        pthread_cond_init(&f->wake, &clock);
        pthread_condattr_destroy(&clock);
        for (; f->n < c->n; f->n++) {
                struct destination *d = &f->destinations[f->n];
                int r;

                d->config = &c->items[f->n];
                d->store = store;
                d->forward = f;
                d->sender = (struct sender){.config = d->config, .stopping = &f->stopping};
                r = -pthread_create(&d->thread, NULL, destination_run, d);
                if (r < 0) {
                        forward_stop(f);
                        return diag_set(reterr, r, NULL, 0, "cannot start a thread: %s", strerror(-r));
                }
        }
        *ret = f;
        return 0;
}

void forward_stop(struct forward *f)
{
        if (!f)
                return;
        pthread_mutex_lock(&f->lock);
        __atomic_store_n(&f->stopping, true, __ATOMIC_RELAXED);
        pthread_cond_broadcast(&f->wake);
        pthread_mutex_unlock(&f->lock);
        for (size_t i = 0; i < f->n; i++)
                pthread_join(f->destinations[i].thread, NULL);
        pthread_cond_destroy(&f->wake);
        pthread_mutex_destroy(&f->lock);
        free(f->destinations);
        free(f);
}
