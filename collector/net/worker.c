/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/worker.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include "base/cleanup.h"

struct worker {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        struct worker_job *first, **last; /* to do */
        struct worker_job *ended; /* newest first */
        unsigned n;
        bool stopping;
        int event_fd; /* owned by source */
        struct loop_source *source;
};

static struct worker_job *take(struct worker *w)
{
        struct worker_job *job;

        pthread_mutex_lock(&w->lock);
        while (!w->first && !w->stopping)
                pthread_cond_wait(&w->wake, &w->lock);
        job = w->first;
        if (job && !(w->first = job->next))
                w->last = &w->first;
        pthread_mutex_unlock(&w->lock);
        return job;
}

static void *work(void *userdata)
{
        struct worker *w = userdata;
        struct worker_job *job;

        while ((job = take(w))) {
                job->run(job);
                pthread_mutex_lock(&w->lock);
                job->next = w->ended;
                w->ended = job;
                w->n--;
                pthread_mutex_unlock(&w->lock);
                (void)eventfd_write(w->event_fd, 1);
        }
        return NULL;
}

static void finish(struct worker *w)
{
        struct worker_job *ended, *ordered = NULL;

        pthread_mutex_lock(&w->lock);
        ended = w->ended;
        w->ended = NULL;
        pthread_mutex_unlock(&w->lock);
        while (ended) {
                struct worker_job *job = ended;

                ended = job->next;
                job->next = ordered;
                ordered = job;
        }
        while (ordered) {
                struct worker_job *job = ordered;

                ordered = job->next;
                job->done(job);
        }
}

static void on_event(void *userdata, uint32_t events)
{
        struct worker *w = userdata;
        eventfd_t n;

        (void)eventfd_read(w->event_fd, &n);
        finish(w);
}

int worker_add(struct worker *w, struct worker_job *job)
{
        int r = -EAGAIN;

        pthread_mutex_lock(&w->lock);
        if (w->n < WORKER_JOBS_MAX) {
                job->next = NULL;
                *w->last = job;
                w->last = &job->next;
                w->n++;
                r = 0;
                pthread_cond_signal(&w->wake);
        }
        pthread_mutex_unlock(&w->lock);
        return r;
}

int worker_new(struct loop *l, struct worker **ret)
{
        struct worker *w = calloc(1, sizeof(*w));
        sigset_t all, before;
        int r;

        if (!w)
                return -ENOMEM;
        w->last = &w->first;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->wake, NULL);
        w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = w->event_fd < 0 ? -errno : loop_add_io(l, w->event_fd, EPOLLIN, on_event, w, &w->source);
        if (r < 0) {
                fd_close(&w->event_fd);
                free(w);
                return r;
        }
        /* signals are the loop's */
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        r = -pthread_create(&w->thread, NULL, work, w);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r < 0) {
                loop_source_close(w->source);
                free(w);
                return r;
        }
        *ret = w;
        return 0;
}

void worker_free(struct worker *w)
{
        if (!w)
                return;
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
        finish(w);
        loop_source_close(w->source);
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        free(w);
}
