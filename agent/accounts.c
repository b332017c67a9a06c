/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/state/accounts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "agent/worker.h"
#include "base/cleanup.h"

#define USEC_PER_SEC 1000000ull
#define JOBS_MAX     8 /* one that hangs, and those that wait behind it */

struct question {
        struct worker_job job;
        struct accounts *accounts;
        struct accounts_names names;
        uid_t uids[ACCOUNTS_UIDS_MAX];
        size_t n_uids;
        uint64_t number;
};

struct accounts {
        struct worker *worker;
        void (*changed)(void *userdata);
        void *userdata;
        struct accounts_names names; /* asked for now */
        struct accounts_answer *answer; /* the loop's own */
        uid_t uids[ACCOUNTS_UIDS_MAX];
        size_t n_uids;
        uint64_t asked; /* number of the latest question */
        bool again; /* no room in the queue when something was to be asked */
        pthread_mutex_t lock;
        pthread_cond_t answered;
        struct accounts_answer *fresh; /* under the lock: not taken over yet */
        uint64_t fresh_number;
        sd_event_source *on_refresh, *on_files, *on_sessions;
};

static void question_free(struct question *q)
{
        accounts_names_done(&q->names);
        free(q);
}

static void run(struct worker_job *job, const atomic_bool *stop)
{
        struct question *q = (struct question *)job;
        struct accounts *a = q->accounts;
        struct accounts_answer *answer = NULL;

        if (accounts_resolve(&q->names, q->uids, q->n_uids, &answer) < 0)
                return;
        pthread_mutex_lock(&a->lock);
        accounts_answer_free(a->fresh);
        a->fresh = answer;
        a->fresh_number = q->number;
        pthread_cond_signal(&a->answered);
        pthread_mutex_unlock(&a->lock);
}

static bool is_same(const struct accounts_answer *a, const struct accounts_answer *b)
{
        if (!a || !b || a->n_users != b->n_users || a->n_members != b->n_members)
                return a == b;
        for (size_t i = 0; i < a->n_users; i++)
                if (strcmp(a->users[i].name, b->users[i].name) || a->users[i].uid != b->users[i].uid)
                        return false;
        for (size_t i = 0; i < a->n_members; i++)
                if (strcmp(a->members[i].unixgroup, b->members[i].unixgroup) ||
                    a->members[i].uid != b->members[i].uid)
                        return false;
        return true;
}

/* True when what is known has changed. */
static bool take_fresh(struct accounts *a)
{
        struct accounts_answer *before = a->answer;
        bool changed;

        pthread_mutex_lock(&a->lock);
        if (a->fresh)
                a->answer = TAKE_PTR(a->fresh);
        pthread_mutex_unlock(&a->lock);
        if (a->answer == before)
                return false;
        changed = !is_same(before, a->answer);
        accounts_answer_free(before);
        return changed;
}

static int submit(struct accounts *a)
{
        struct question *q = calloc(1, sizeof(*q));
        int r;

        if (!q)
                return -ENOMEM;
        q->accounts = a;
        q->number = ++a->asked;
        memcpy(q->uids, a->uids, sizeof(q->uids));
        q->n_uids = a->n_uids;
        r = accounts_names_add(&q->names, a->names.users, a->names.unixgroups);
        if (r >= 0)
                r = worker_submit(a->worker, &q->job);
        if (r < 0)
                question_free(q);
        a->again = r == -EBUSY;
        return r;
}

static void on_done(struct worker_job *job, void *userdata)
{
        struct accounts *a = userdata;

        question_free((struct question *)job);
        if (a->again)
                submit(a);
        if (take_fresh(a))
                a->changed(a->userdata);
}

static void drop(struct worker_job *job)
{
        question_free((struct question *)job);
}

static void ask_again(struct accounts *a)
{
        if (a->names.n_users + a->names.n_unixgroups > 0)
                submit(a);
}

static int on_refresh(sd_event_source *s, uint64_t usec, void *userdata)
{
        ask_again(userdata);
        sd_event_source_set_time_relative(s, ACCOUNTS_REFRESH_S * USEC_PER_SEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int on_files(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        if (e->len && (!strcmp(e->name, "passwd") || !strcmp(e->name, "group")))
                ask_again(userdata);
        return 0;
}

static int on_sessions(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        ask_again(userdata);
        return 0;
}

int accounts_new(sd_event *event, void (*changed)(void *userdata), void *userdata, struct accounts **ret)
{
        const struct worker_options o = {.run = run, .done = on_done, .drop = drop, .max = JOBS_MAX};
        struct accounts *a = calloc(1, sizeof(*a));
        struct worker_options own = o;
        pthread_condattr_t attributes;
        int r;

        if (!a)
                return -ENOMEM;
        a->changed = changed;
        a->userdata = userdata;
        own.userdata = a;
        pthread_mutex_init(&a->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&a->answered, &attributes);
        pthread_condattr_destroy(&attributes);
        r = worker_new(event, &own, &a->worker);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &a->on_refresh, CLOCK_MONOTONIC,
                                               ACCOUNTS_REFRESH_S * USEC_PER_SEC, USEC_PER_SEC, on_refresh, a);
        if (r < 0) {
                accounts_free(a);
                return r;
        }
        /* without them the timer has to do */
        (void)sd_event_add_inotify(event, &a->on_files, "/etc", IN_MOVED_TO | IN_CLOSE_WRITE, on_files, a);
        (void)sd_event_add_inotify(event, &a->on_sessions, "/run/systemd/users", IN_MOVED_TO | IN_CREATE, on_sessions,
                                   a);
        *ret = a;
        return 0;
}

struct accounts *accounts_free(struct accounts *a)
{
        if (!a)
                return NULL;
        sd_event_source_disable_unref(a->on_refresh);
        sd_event_source_disable_unref(a->on_files);
        sd_event_source_disable_unref(a->on_sessions);
        worker_free(a->worker);
        accounts_names_done(&a->names);
        accounts_answer_free(a->answer);
        /* the rest stays for a thread that hangs in a directory's library: the program ends now */
        return NULL;
}

static void wait_for_answer(struct accounts *a)
{
        struct timespec end;

        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_nsec += ACCOUNTS_WAIT_MS * 1000000l;
        end.tv_sec += end.tv_nsec / 1000000000l;
        end.tv_nsec %= 1000000000l;
        pthread_mutex_lock(&a->lock);
        while (a->fresh_number < a->asked)
                if (pthread_cond_timedwait(&a->answered, &a->lock, &end) != 0)
                        break;
        pthread_mutex_unlock(&a->lock);
}

const struct accounts_answer *accounts_ask(struct accounts *a, struct accounts_names *names)
{
        accounts_names_done(&a->names);
        a->names = *names;
        *names = (struct accounts_names){0};
        if (a->names.n_users + a->names.n_unixgroups > 0 && submit(a) >= 0)
                wait_for_answer(a);
        take_fresh(a);
        return a->answer;
}

void accounts_meet(struct accounts *a, uid_t uid)
{
        if (a->names.n_unixgroups == 0 || a->n_uids == ACCOUNTS_UIDS_MAX)
                return;
        for (size_t i = 0; i < a->n_uids; i++)
                if (a->uids[i] == uid)
                        return;
        a->uids[a->n_uids++] = uid;
        submit(a);
}
