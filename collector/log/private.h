/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to log/. */
#include "collector/log/log.h"

struct tlog {
        struct store *store;
        int64_t number; /* in the table log */
        struct note_key key;
        uint8_t secret[NOTE_SECRET_SIZE];
        struct merkle_edge edge; /* entries, of which the first `size` are below a checkpoint */
        uint64_t size, checkpoint_ms;
};

/* key.c: reads the key, or makes it. */
int tlog_key_load(const char *path, const char *origin, struct note_key *ret,
                  uint8_t ret_secret[static NOTE_SECRET_SIZE], struct diag *reterr);
/* take.c: up to TLOG_TAKE_MAX new entries. */
int tlog_take(struct tlog *l);
/* log.c */
int tlog_put_tile(void *userdata, const struct merkle_tile *t, const uint8_t *hashes);
/* read.c: reads whole or wider tiles than asked for. */
int tlog_read_tile(struct db *db, int64_t log, const struct merkle_tile *t, uint8_t *ret);
