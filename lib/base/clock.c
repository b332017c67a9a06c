/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"
#include <time.h>

static uint64_t in_ms(clockid_t clock)
{
        struct timespec t;

        clock_gettime(clock, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t clock_utc_ms(void)
{
        return in_ms(CLOCK_REALTIME);
}

uint64_t clock_monotonic_ms(void)
{
        return in_ms(CLOCK_MONOTONIC);
}
