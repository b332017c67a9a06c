/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What retention says it removed: in the audit trail, whose lines are in the log, and on the seals, so that a batch that is
 * gone is one of those or was removed by somebody else. */
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "record/chain.h"

#define SEAL_GONE 1 /* bit of seal.gone: a rule removed its last record */
#define SEAL_HELD 2 /* its month was removed, and it stayed under a hold */

struct batches {
        uint64_t n;
        uint8_t sum[CHAIN_HASH_SIZE]; /* exclusive or of their heads */
};
void batches_add(struct batches *b, const uint8_t head[static CHAIN_HASH_SIZE]);
bool batches_equal(const struct batches *a, const struct batches *b);
/* To that of several. */
void batches_join(struct batches *b, const struct batches *more);

struct purge {
        int64_t month;
        uint64_t n_gone, n_held; /* records */
        bool whole; /* all of the month but what was held, else records one by one */
        struct batches gone, held;
};
/* The audit line's detail. */
void purge_format(struct buf *out, const struct purge *p);
bool purge_parse(const char *detail, struct purge *ret);
