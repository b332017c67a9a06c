/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Clocks as whole numbers (clock_gettime(2)). */
#include <stdint.h>
#include <time.h>

uint64_t clock_ns(clockid_t clock);
uint64_t clock_utc_ms(void); /* CLOCK_REALTIME, since 1970 */
uint64_t clock_monotonic_ms(void); /* CLOCK_MONOTONIC: stands still while the machine sleeps */
uint64_t clock_boottime_ms(void); /* CLOCK_BOOTTIME: goes on while the machine sleeps */
