/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define NS_PER_MS    1000000
#define FAR_FUTURE_S (1ll << 33)

uint64_t clock_ns(clockid_t clock)
{
        struct timespec t;

        clock_gettime(clock, &t);
        return (uint64_t)t.tv_sec * 1000 * NS_PER_MS + (uint64_t)t.tv_nsec;
}

uint64_t clock_utc_ms(void)
{
        return clock_ns(CLOCK_REALTIME) / NS_PER_MS;
}

uint64_t clock_monotonic_ms(void)
{
        return clock_ns(CLOCK_MONOTONIC) / NS_PER_MS;
}

uint64_t clock_boottime_ms(void)
{
        return clock_ns(CLOCK_BOOTTIME) / NS_PER_MS;
}

uint64_t clock_slept_ms(void)
{
        const uint64_t awake = clock_monotonic_ms(), all = clock_boottime_ms(); /* in this order: never below 0 */

        return all - awake;
}

static int arm(int fd)
{
        const struct itimerspec never = {.it_value.tv_sec = FAR_FUTURE_S};

        return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0 ? -errno : 0;
}

int clock_watch_new(void)
{
        int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        int r = fd < 0 ? -errno : arm(fd);

        if (fd >= 0 && r < 0)
                close(fd);
        return r < 0 ? r : fd;
}

int clock_watch_again(int fd)
{
        uint64_t ticks;

        (void)!read(fd, &ticks, sizeof(ticks)); /* ECANCELED */
        return arm(fd);
}
