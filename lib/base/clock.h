/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Clocks as whole numbers (clock_gettime(2)), and who sets them. */
#include <stdint.h>
#include <time.h>

uint64_t clock_ns(clockid_t clock);
uint64_t clock_utc_ms(void); /* CLOCK_REALTIME, since 1970 */
uint64_t clock_monotonic_ms(void); /* CLOCK_MONOTONIC: stands still while the machine sleeps */
uint64_t clock_boottime_ms(void); /* CLOCK_BOOTTIME: goes on while the machine sleeps */
/* How long the machine has slept since it was started. */
uint64_t clock_slept_ms(void);

/* A descriptor that gets readable when somebody sets the clock, and when the machine wakes up (timerfd_create(2),
 * TFD_TIMER_CANCEL_ON_SET). The caller closes it. -errno. */
int clock_watch_new(void);
/* It was readable: wait for the next time. -errno. */
int clock_watch_again(int fd);
