/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What a device may take of the server, whatever the number of its connections; those without a certificate share one
 * account, so that strangers together take no more than that. Kept while there is a connection. The loop's thread only. */
#include <stddef.h>
#include <stdint.h>
#include "collector/net/tls.h"

struct account {
        char name[TLS_NAME_MAX]; /* of the certificate; first: the tree is ordered by it */
        unsigned n_connections;
        size_t n_bodies; /* bytes of unfinished request bodies */
        int64_t credit_us; /* of the loop's time; below 0: in debt */
        uint64_t credited_ms; /* loop_now_ms() when credit_us was right */
        const struct account_limits *limits;
};

/* `tree`: tsearch(3), NULL when empty. -ENOMEM. */
int account_join(void **tree, const char *name, uint64_t now_ms, struct account **ret);
void account_leave(void **tree, struct account *a);

/* Those without a certificate. */
void account_init_strangers(struct account *a, uint64_t now_ms);

/* Seconds until there is credit again, 0: there is. */
unsigned account_wait_s(struct account *a, uint64_t now_ms);
void account_charge(struct account *a, uint64_t spent_us);
/* Bytes that an unfinished body may still grow by. */
size_t account_room(const struct account *a);
/* More than one device needs: its oldest connection is to go. */
bool account_is_crowded(const struct account *a);
