/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include "agent/worker.h"
#include "base/cleanup.h"

#define STACK_BYTES (256u << 10)

struct queue {
        struct worker_job *first, *last;
};

struct worker {
        struct worker_options o;
        pthread_mutex_t lock;
        pthread_cond_t more;
        struct queue waiting, finished; /* under the lock */
        size_t n; /* the loop's own */
        atomic_bool stop;
        bool started;
        pthread_t thread;
        int event_fd;
        sd_event_source *source;
};

static void queue_put(struct queue *q, struct worker_job *job)
{
        job->next = NULL;
        if (q->last)
                q->last->next = job;
        else
                q->first = job;
        q->last = job;
}

static struct worker_job *queue_take(struct queue *q)
{
        struct worker_job *job = q->first;

        if (job)
                q->first = job->next;
        if (!q->first)
                q->last = NULL;
        return job;
}

static void *work(void *userdata)
{
        const uint64_t one = 1;
        struct worker *w = userdata;
        struct worker_job *job;

        pthread_mutex_lock(&w->lock);
        for (;;) {
                while (!w->stop && !w->waiting.first)
                        pthread_cond_wait(&w->more, &w->lock);
                if (w->stop)
                        break;
                job = queue_take(&w->waiting);
                pthread_mutex_unlock(&w->lock);
                w->o.run(job, &w->stop);
                pthread_mutex_lock(&w->lock);
                queue_put(&w->finished, job);
                if (write(w->event_fd, &one, sizeof(one)) < 0)
                        continue; /* full: the loop will look all the same */
        }
        pthread_mutex_unlock(&w->lock);
        return NULL;
}

static int on_finished(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct worker *w = userdata;
        struct worker_job *job;
        uint64_t n;

        if (read(fd, &n, sizeof(n)) < 0)
                return 0;
        for (;;) {
                pthread_mutex_lock(&w->lock);
                job = queue_take(&w->finished);
                pthread_mutex_unlock(&w->lock);
                if (!job)
                        return 0;
                w->n--;
                w->o.done(job, w->o.userdata);
        }
}

static int start(struct worker *w)
{
        pthread_attr_t a;
        int r;

        r = -pthread_attr_init(&a);
        if (r < 0)
                return r;
        r = -pthread_attr_setstacksize(&a, STACK_BYTES);
        if (r == 0)
                r = -pthread_create(&w->thread, &a, work, w);
        pthread_attr_destroy(&a);
        w->started = r == 0;
        return r;
}

int worker_new(sd_event *event, const struct worker_options *o, struct worker **ret)
{
        struct worker *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        w->o = *o;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->more, NULL);
        w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = w->event_fd < 0 ? -errno : sd_event_add_io(event, &w->source, w->event_fd, EPOLLIN, on_finished, w);
        if (r >= 0)
                r = sd_event_source_set_priority(w->source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0) {
                worker_free(w);
                return r;
        }
        *ret = w;
        return 0;
}

static bool is_joined(struct worker *w)
{
        struct timespec t;

        if (!w->started)
                return true;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_sec++;
        return pthread_timedjoin_np(w->thread, NULL, &t) == 0;
}

struct worker *worker_free(struct worker *w)
{
        struct worker_job *job;

        if (!w)
                return NULL;
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_signal(&w->more);
        pthread_mutex_unlock(&w->lock);
        sd_event_source_disable_unref(w->source);
        if (!is_joined(w))
                return NULL;
        while ((job = queue_take(&w->waiting)) || (job = queue_take(&w->finished)))
                w->o.drop(job);
        fd_close(&w->event_fd);
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->more);
        free(w);
        return NULL;
}

int worker_submit(struct worker *w, struct worker_job *job)
{
        int r = 0;

        if (w->n >= w->o.max)
                return -EBUSY;
        if (!w->started)
                r = start(w);
        if (r < 0)
                return r;
        w->n++;
        pthread_mutex_lock(&w->lock);
        queue_put(&w->waiting, job);
        pthread_cond_signal(&w->more);
        pthread_mutex_unlock(&w->lock);
        return 0;
}
