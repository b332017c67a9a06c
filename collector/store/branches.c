/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Histories of a device that are not the one kept first: what another machine with its key wrote, and brings after it
 * has a key of its own. Each is a device row of its own, retired from the beginning. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "collector/store/private.h"

#define NAME_ROOM ((int)(STORE_NAME_MAX - sizeof("~99")))

int store_has_batch(struct store *s, int64_t device, const struct chain_seal *seal)
{
        int64_t n;
        int r = db_number(s->write, "SELECT 1 FROM seal WHERE device = $1 AND first = $2 AND head = $3", &n, "iib",
                          device, (int64_t)seal->first, seal->head, sizeof(seal->head));

        if (r == 0)
                r = db_flush(s->write);
        if (r == 0) /* sealed otherwise: a kill came between */
                r = db_number(s->write, "SELECT 1 FROM record WHERE device = $1 AND seq = $2 AND hash = $3", &n,
                              "iib", device, (int64_t)(seal->first + seal->n - 1), seal->head, sizeof(seal->head));
        return r;
}

int store_follows(struct store *s, const struct store_device *d, const struct chain_seal *seal)
{
        uint8_t start[CHAIN_HASH_SIZE];
        int64_t n;
        int r = db_flush(s->write);

        chain_start(d->public_key, start);
        if (r < 0 || (seal->first == 1 && memcmp(start, seal->prev, sizeof(start)) == 0))
                return r < 0 ? r : 1;
        r = db_number(s->write, "SELECT 1 FROM record WHERE device = $1 AND seq = $2 AND hash = $3", &n, "iib",
                      d->number, (int64_t)seal->first - 1, seal->prev, sizeof(seal->prev));
        if (r != 0) /* else it is not kept any more, perhaps */
                return r;
        return db_number(s->write, "SELECT 1 FROM seal WHERE device = $1 AND first + n = $2 AND head = $3", &n, "iib",
                         d->number, (int64_t)seal->first, seal->prev, sizeof(seal->prev));
}

/* Nothing but its device's next batch is no other history: that one brings it itself, unless it is gone. */
static bool is_branch(const struct store_branch *b)
{
        return b->of->retired_ms || b->seal->first < b->of->next_seq ||
               (b->seal->first == b->of->next_seq && memcmp(b->seal->prev, b->of->head, CHAIN_HASH_SIZE) != 0);
}

/* 1: *ret is the branch's id. */
static int branch_find(struct db *db, const struct store_branch *b, char ret[static DEVICE_ID_MAX])
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(db, "SELECT id FROM device WHERE branch_of = $1 AND branch_by = $2", &q, "ii", b->of->number,
                         b->by->number);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r;
        r = db_copy(&q, 0, ret, DEVICE_ID_MAX);
        return r < 0 ? -EUCLEAN : 1;
}

static int branch_put(struct db *db, const struct store_branch *b, char ret[static DEVICE_ID_MAX])
{
        static const uint8_t none[STORE_HASH_SIZE];
        char name[STORE_NAME_MAX];
        int64_t n = 0;
        int r = db_number(db, "SELECT count(*) + 2 FROM device WHERE branch_of = $1", &n, "i", b->of->number);

        if (r < 0)
                return r;
        if (n > BRANCHES_MAX)
                return -EDQUOT;
        snprintf(ret, DEVICE_ID_MAX, "%.*s~%d", DEVICE_ID_SIZE, b->of->id, (int)n);
        snprintf(name, sizeof(name), "%.*s~%d", NAME_ROOM, b->of->name, (int)n);
        return db_run(db,
                      "INSERT INTO device (id, name, public_key, certificate_hash, token_hash, next_seq, head,"
                      " enrolled_ms, last_seen_ms, retired_ms, branch_of, branch_by, branch_first, branch_prev)"
                      " VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $7, $7, $8, $9, $5, $6)",
                      "ttbbibiii", ret, name, b->of->public_key, (size_t)DEVICE_KEY_SIZE, none,
                      (size_t)STORE_HASH_SIZE, (int64_t)b->seal->first, b->seal->prev, sizeof(b->seal->prev),
                      (int64_t)b->now_ms, b->of->number, b->by->number);
}

int store_branch(struct store *s, const struct store_branch *b, struct store_device *ret)
{
        char id[DEVICE_ID_MAX];
        int found = branch_find(s->write, b, id), r = found;

        if (found == 0 && !is_branch(b))
                return -EACCES;
        if (found == 0) {
                r = db_savepoint(s->write);
                r = r < 0 ? r : db_release(s->write, branch_put(s->write, b, id));
        }
        if (r >= 0)
                r = store_device_get(s, id, ret);
        return r < 0 ? r : found == 0;
}
