/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

#define NS_PER_MS 1000000

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
