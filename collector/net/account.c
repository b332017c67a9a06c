/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/net/account.h"
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"

/* A device needs two connections, and has some dead ones when its laptop came through several networks. */
#define CONNECTIONS_MAX 16

struct account_limits {
        size_t bodies_max;
        int64_t burst_us; /* of the loop's time, at once */
        unsigned share; /* and on and on: µs of each ms */
};

/* A device: two reports of the largest size on their way, a quarter of the loop. 8,000 violations/s take all of it. */
static const struct account_limits device_limits = {16u << 20, 1000 * 1000, 250};
/* Strangers: enrolments of 16 kB, logins of 4; half of the loop is a thousand enrolments a second. */
static const struct account_limits strangers_limits = {8u << 20, 2000 * 1000, 500};

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct account *)a)->name, ((const struct account *)b)->name);
}

static void account_open(struct account *a, const struct account_limits *limits, uint64_t now_ms)
{
        a->limits = limits;
        a->credit_us = limits->burst_us;
        a->credited_ms = now_ms;
}

int account_join(void **tree, const char *name, uint64_t now_ms, struct account **ret)
{
        _cleanup_free_ struct account *new = calloc(1, sizeof(*new));
        struct account **found;

        if (!new)
                return -ENOMEM;
        strncpy(new->name, name, sizeof(new->name) - 1);
        found = tsearch(new, tree, by_name);
        if (!found)
                return -ENOMEM;
        if (*found == new) {
                account_open(new, &device_limits, now_ms);
                TAKE_PTR(new);
        }
        (*found)->n_connections++;
        *ret = *found;
        return 0;
}

void account_leave(void **tree, struct account *a)
{
        if (--a->n_connections > 0)
                return;
        tdelete(a, tree, by_name);
        free(a);
}

void account_init_strangers(struct account *a, uint64_t now_ms)
{
        account_open(a, &strangers_limits, now_ms);
}

unsigned account_wait_s(struct account *a, uint64_t now_ms)
{
        a->credit_us += (int64_t)(now_ms - a->credited_ms) * a->limits->share;
        a->credited_ms = now_ms;
        if (a->credit_us > a->limits->burst_us)
                a->credit_us = a->limits->burst_us;
        return a->credit_us >= 0 ? 0 : (unsigned)(-a->credit_us / (1000 * (int64_t)a->limits->share)) + 1;
}

void account_charge(struct account *a, uint64_t spent_us)
{
        a->credit_us -= (int64_t)spent_us;
}

size_t account_room(const struct account *a)
{
        return a->limits->bodies_max - a->n_bodies;
}

bool account_is_crowded(const struct account *a)
{
        return a->n_connections > CONNECTIONS_MAX;
}
