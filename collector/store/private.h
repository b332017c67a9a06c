/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to store/. */
#include "collector/store/store.h"

struct store {
        struct db *write, *read;
        int64_t month; /* whose partition is known to be there */
};

/* Calls fn for each row with ROW_COLUMNS, and ROW_PROOF_COLUMNS where `proof`. */
#define ROW_COLUMNS                                                                                                  \
        "r.device, d.id, d.name, r.seq, r.time_ms, r.received_ms, r.kind, r.channel, r.channel_name, r.class,"       \
        " r.tier, r.layer, r.outcome, r.verdict, r.user_name, coalesce(r.uid, -1), r.program, r.remote, r.port,"     \
        " r.count, r.policy_serial, r.entry"
#define ROW_PROOF_COLUMNS ", r.hash, r.salt, r.body, coalesce(r.erased_ms, 0), r.commitment"
int store_rows(struct db_rows *rows, bool proof, store_row_fn fn, void *userdata);
