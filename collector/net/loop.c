/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/loop.h"
#include <errno.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/clock.h"

#define LOOP_EVENTS_MAX 256
#define LOOP_AFTER_MAX  8

struct loop_source {
        struct loop *loop;
        struct loop_source *prev, *next; /* of all sources, or of the closed ones */
        int fd;
        loop_io_fn fn; /* NULL: a timer or signals */
        loop_fn plain;
        void *userdata;
        bool closed;
};

struct loop {
        int epoll_fd;
        bool stopping;
        uint64_t now_ms;
        struct loop_source *sources;
        struct loop_source *closed;
        struct {
                loop_fn fn;
                void *userdata;
        } after[LOOP_AFTER_MAX];
        size_t n_after;
};

static void loop_update_now(struct loop *l)
{
        l->now_ms = clock_monotonic_ms();
}

uint64_t loop_now_ms(const struct loop *l)
{
        return l->now_ms;
}

int loop_new(struct loop **ret)
{
        struct loop *l = calloc(1, sizeof(*l));

        if (!l)
                return -ENOMEM;
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (l->epoll_fd < 0) {
                free(l);
                return -errno;
        }
        loop_update_now(l);
        *ret = l;
        return 0;
}

static void loop_free_closed(struct loop *l)
{
        while (l->closed) {
                struct loop_source *s = l->closed;

                l->closed = s->next;
                free(s);
        }
}

void loop_free(struct loop *l)
{
        if (!l)
                return;
        while (l->sources)
                loop_source_close(l->sources);
        loop_free_closed(l);
        fd_close(&l->epoll_fd);
        free(l);
}

static int loop_add(struct loop *l, int fd, uint32_t events, struct loop_source **ret)
{
        struct loop_source *s = calloc(1, sizeof(*s));
        struct epoll_event e = {.events = events, .data.ptr = s};

        if (!s)
                return -ENOMEM;
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) {
                free(s);
                return -errno;
        }
        s->loop = l;
        s->fd = fd;
        s->next = l->sources;
        if (s->next)
                s->next->prev = s;
        l->sources = s;
        *ret = s;
        return 0;
}

int loop_add_io(struct loop *l, int fd, uint32_t events, loop_io_fn fn, void *userdata, struct loop_source **ret)
{
        int r = loop_add(l, fd, events, ret);

        if (r < 0)
                return r;
        (*ret)->fn = fn;
        (*ret)->userdata = userdata;
        return 0;
}

int loop_source_modify(struct loop_source *s, uint32_t events)
{
        struct epoll_event e = {.events = events, .data.ptr = s};

        return epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &e) < 0 ? -errno : 0;
}

void loop_source_close(struct loop_source *s)
{
        if (!s || s->closed)
                return;
        fd_close(&s->fd);
        s->closed = true;
        if (s->prev)
                s->prev->next = s->next;
        else
                s->loop->sources = s->next;
        if (s->next)
                s->next->prev = s->prev;
        s->prev = NULL;
        s->next = s->loop->closed;
        s->loop->closed = s;
}

/* Takes fd, also on failure. */
static int loop_add_plain(struct loop *l, int fd, loop_fn fn, void *userdata)
{
        _cleanup_fd_ int owned = fd;
        struct loop_source *s;
        int r;

        if (fd < 0)
                return -errno;
        r = loop_add(l, fd, EPOLLIN, &s);
        if (r < 0)
                return r;
        s->plain = fn;
        s->userdata = userdata;
        owned = -1;
        return 0;
}

int loop_add_timer(struct loop *l, uint64_t interval_ms, loop_fn fn, void *userdata)
{
        struct timespec t = {.tv_sec = (time_t)(interval_ms / 1000), .tv_nsec = (long)(interval_ms % 1000) * 1000000};
        struct itimerspec spec = {.it_interval = t, .it_value = t};
        _cleanup_fd_ int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

        if (fd < 0 || timerfd_settime(fd, 0, &spec, NULL) < 0)
                return -errno;
        return loop_add_plain(l, TAKE_FD(fd), fn, userdata);
}

int loop_add_signals(struct loop *l, const sigset_t *signals, loop_fn fn, void *userdata)
{
        if (sigprocmask(SIG_BLOCK, signals, NULL) < 0)
                return -errno;
        return loop_add_plain(l, signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK), fn, userdata);
}

int loop_add_after(struct loop *l, loop_fn fn, void *userdata)
{
        if (l->n_after == LOOP_AFTER_MAX)
                return -ENOBUFS;
        l->after[l->n_after].fn = fn;
        l->after[l->n_after++].userdata = userdata;
        return 0;
}

static void loop_dispatch(struct loop_source *s, uint32_t events)
{
        uint8_t drain[sizeof(struct signalfd_siginfo)]; /* a timerfd gives 8 bytes */

        if (s->closed)
                return;
        if (s->fn)
                s->fn(s->userdata, events);
        else if (read(s->fd, drain, sizeof(drain)) > 0)
                s->plain(s->userdata);
}

int loop_run(struct loop *l)
{
        struct epoll_event events[LOOP_EVENTS_MAX];

        while (!l->stopping) {
                int n = epoll_wait(l->epoll_fd, events, LOOP_EVENTS_MAX, -1);

                if (n < 0 && errno != EINTR)
                        return -errno;
                loop_update_now(l);
                for (int i = 0; i < n; i++)
                        loop_dispatch(events[i].data.ptr, events[i].events);
                for (size_t i = 0; i < l->n_after; i++)
                        l->after[i].fn(l->after[i].userdata);
                loop_free_closed(l);
        }
        return 0;
}

void loop_stop(struct loop *l)
{
        l->stopping = true;
}
