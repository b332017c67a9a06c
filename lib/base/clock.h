/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Clocks in milliseconds (clock_gettime(2)). */
#include <stdint.h>

uint64_t clock_utc_ms(void); /* CLOCK_REALTIME, since 1970 */
uint64_t clock_monotonic_ms(void); /* CLOCK_MONOTONIC: stands still while the machine sleeps */
