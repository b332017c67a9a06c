/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to store/: taking the content out of records, so that their place, hash and commitment stay. The caller
 * commits. */
#include "collector/store/db.h"
#include "record/chain.h"

#define ERASE_CHUNK 500 /* records erased at once */

/* Under a hold that is in force, for a record r. */
#define HELD                                                                                                         \
        "EXISTS (SELECT 1 FROM hold h LEFT JOIN device hd ON hd.id = h.device OR hd.name = h.device"                 \
        " WHERE h.released_ms IS NULL AND (h.device IS NULL OR hd.number = r.device)"                                \
        " AND (h.user_name IS NULL OR h.user_name = r.user_name) AND (h.channel IS NULL OR h.channel = r.channel)"   \
        " AND r.time_ms >= h.from_ms AND r.time_ms < h.to_ms)"

struct place_key {
        int64_t device, seq;
};

struct place {
        int64_t device, seq;
        struct place_key at; /* where a walk over them stands */
        uint8_t commitment[CHAIN_HASH_SIZE];
};

/* What the query must read; its caller may put another place_key behind. */
#define ERASE_PROOF   "r.device, r.seq, r.salt, r.body"
#define ERASE_COLUMNS ERASE_PROOF ", r.device, r.seq"

/* Up to ERASE_CHUNK rows of a query, which is done then. Returns how many. -EUCLEAN a row without its salt. */
int erase_read(struct db_rows *q, struct place *ret);
/* Returns n. */
int erase_write(struct db *db, const struct place *places, int n, uint64_t now_ms);
/* Both. */
int erase_rows(struct db *db, struct db_rows *q, uint64_t now_ms);
