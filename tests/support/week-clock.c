/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Preloaded by test_week.py: clocks run ahead by what stands in the file $WEEK_CLOCK (four int64 of nanoseconds: of
 * CLOCK_REALTIME, CLOCK_BOOTTIME, and two for CLOCK_MONOTONIC, of which $WEEK_MONOTONIC chooses one; without it that clock is
 * the kernel's). When the file changes, timers are set anew and those that wait for the clock to be set go off, as after a
 * machine woke up (Linux timerfd_resume()). The kernel's own clocks are what they are. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EXPORT       __attribute__((visibility("default")))
#define NS           1000000000ll
#define TIMERS_MAX   64
#define LOOK_EACH_NS 5000000

struct ahead {
        int64_t realtime, boottime, monotonic[2];
};

static volatile const struct ahead *ahead;
static int monotonic = -1; /* which of them */

static struct timer {
        int clock, flags;
        struct itimerspec spec;
        bool set;
} timers[TIMERS_MAX]; /* by descriptor */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_create)(int, int);
static int (*real_settime)(int, int, const struct itimerspec *, struct itimerspec *);

static int64_t offset(int clock)
{
        if (!ahead)
                return 0;
        if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
                return ahead->realtime;
        if (clock == CLOCK_BOOTTIME)
                return ahead->boottime;
        return clock == CLOCK_MONOTONIC && monotonic >= 0 ? ahead->monotonic[monotonic] : 0;
}

static struct timespec plus(struct timespec t, int64_t ns)
{
        const int64_t all = (int64_t)t.tv_sec * NS + t.tv_nsec + ns;

        return all > 0 ? (struct timespec){all / NS, all % NS} : (struct timespec){0, 1};
}

static int set_really(int fd, const struct timer *t, struct itimerspec *old)
{
        struct itimerspec s = t->spec;

        if (t->flags & TFD_TIMER_ABSTIME && (s.it_value.tv_sec || s.it_value.tv_nsec))
                s.it_value = plus(s.it_value, -offset(t->clock));
        return real_settime(fd, t->flags, &s, old);
}

static void woke_up(void)
{
        static const struct itimerspec at_once = {.it_value.tv_nsec = 1};

        pthread_mutex_lock(&lock);
        for (int fd = 0; fd < TIMERS_MAX; fd++) {
                if (!timers[fd].set)
                        continue;
                if (timers[fd].flags & TFD_TIMER_CANCEL_ON_SET)
                        real_settime(fd, TFD_TIMER_ABSTIME, &at_once, NULL);
                else
                        set_really(fd, &timers[fd], NULL);
        }
        pthread_mutex_unlock(&lock);
}

static void *look(void *unused)
{
        struct ahead known = *ahead;

        for (;;) {
                nanosleep(&(struct timespec){.tv_nsec = LOOK_EACH_NS}, NULL);
                if (known.realtime == ahead->realtime && known.boottime == ahead->boottime &&
                    known.monotonic[0] == ahead->monotonic[0])
                        continue;
                known = *ahead;
                woke_up();
        }
        return NULL;
}

__attribute__((constructor)) static void start(void)
{
        const char *path = getenv("WEEK_CLOCK");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        sigset_t all, before;
        pthread_t thread;
        void *map;

        real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
        real_create = (int (*)(int, int))dlsym(RTLD_NEXT, "timerfd_create");
        real_settime = (int (*)(int, int, const struct itimerspec *, struct itimerspec *))dlsym(RTLD_NEXT,
                                                                                                "timerfd_settime");
        map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, fd, 0);
        if (fd >= 0)
                close(fd);
        if (map == MAP_FAILED)
                return;
        ahead = map;
        monotonic = getenv("WEEK_MONOTONIC") ? *getenv("WEEK_MONOTONIC") == '1' : -1;
        sigfillset(&all); /* they are the program's */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&thread, NULL, look, NULL) == 0)
                pthread_detach(thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *ret)
{
        int r = real_gettime ? real_gettime(clock, ret) : -1;

        if (r == 0)
                *ret = plus(*ret, offset(clock));
        return r;
}

EXPORT time_t time(time_t *ret)
{
        struct timespec t = {0};

        clock_gettime(CLOCK_REALTIME, &t);
        if (ret)
                *ret = t.tv_sec;
        return t.tv_sec;
}

EXPORT int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
        struct timespec t = {0};

        clock_gettime(CLOCK_REALTIME, &t);
        *ret = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
        return 0;
}

EXPORT int timerfd_create(int clock, int flags)
{
        int fd = real_create(clock, flags);

        if (fd >= 0 && fd < TIMERS_MAX) {
                pthread_mutex_lock(&lock);
                timers[fd] = (struct timer){.clock = clock};
                pthread_mutex_unlock(&lock);
        }
        return fd;
}

EXPORT int timerfd_settime(int fd, int flags, const struct itimerspec *spec, struct itimerspec *old)
{
        int r;

        if (fd < 0 || fd >= TIMERS_MAX)
                return real_settime(fd, flags, spec, old);
        pthread_mutex_lock(&lock);
        timers[fd].spec = *spec;
        timers[fd].flags = flags;
        timers[fd].set = true;
        r = set_really(fd, &timers[fd], old);
        pthread_mutex_unlock(&lock);
        return r;
}
