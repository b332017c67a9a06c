/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the benchmarks share: a clock and the median of samples. */
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

static inline double now_us(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static inline int compare_samples(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return x < y ? -1 : x > y;
}

/* Sorts the samples. */
static inline double median(double *samples, size_t n)
{
        qsort(samples, n, sizeof(*samples), compare_samples);
        return n % 2 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
}
