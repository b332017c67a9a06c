/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/store/sqlite.h"

enum { /* DEVICE_COLUMNS, then one more */
       COLUMN_NUMBER,
       COLUMN_ID,
       COLUMN_NAME,
       COLUMN_PUBLIC_KEY,
       COLUMN_NEXT_SEQ,
       COLUMN_HEAD,
       COLUMN_ENROLLED,
       COLUMN_LAST_SEEN,
       COLUMN_RETIRED,
       COLUMN_EXTRA,
};

static int device_read(sqlite3_stmt *q, struct store_device *ret)
{
        struct store_device d = {
                .number = sqlite3_column_int64(q, COLUMN_NUMBER),
                .next_seq = (uint64_t)sqlite3_column_int64(q, COLUMN_NEXT_SEQ),
                .enrolled_ms = (uint64_t)sqlite3_column_int64(q, COLUMN_ENROLLED),
                .last_seen_ms = (uint64_t)sqlite3_column_int64(q, COLUMN_LAST_SEEN),
                .retired_ms = (uint64_t)sqlite3_column_int64(q, COLUMN_RETIRED),
        };

        if (column_copy(q, COLUMN_ID, d.id, sizeof(d.id)) < 0 ||
            column_copy(q, COLUMN_NAME, d.name, sizeof(d.name)) < 0 ||
            column_bytes(q, COLUMN_PUBLIC_KEY, d.public_key, sizeof(d.public_key)) < 0 ||
            column_bytes(q, COLUMN_HEAD, d.head, sizeof(d.head)) < 0)
                return -EUCLEAN;
        *ret = d;
        return 0;
}

int sqlite_token_add(struct store *base, const uint8_t hash[static STORE_HASH_SIZE], unsigned uses,
                     uint64_t expires_ms)
{
        int r = sqlite_run(sqlite_of(base), SQL_TOKEN_ADD, "bii", hash, (size_t)STORE_HASH_SIZE, (int64_t)uses,
                           (int64_t)expires_ms);

        return r < 0 ? r : 0;
}

/* 1: this device used this very token before. */
static int device_used_token(struct sqlite_store *s, const struct store_enrol *e, bool *ret_known)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        uint8_t hash[STORE_HASH_SIZE];
        int r = sqlite_prepare(s, SQL_DEVICE_GET, &q, "t", e->id);

        if (r < 0)
                return r;
        r = sqlite_step(q);
        if (r < 0)
                return r;
        *ret_known = r > 0;
        if (r == 0 || sqlite3_column_int64(q, COLUMN_RETIRED) != 0)
                return 0;
        r = column_bytes(q, COLUMN_EXTRA, hash, sizeof(hash));
        return r < 0 ? r : memcmp(hash, e->token_hash, sizeof(hash)) == 0;
}

static int enrol(struct sqlite_store *s, const struct store_enrol *e)
{
        uint8_t head[CHAIN_HASH_SIZE];
        bool known = false;
        int r = device_used_token(s, e, &known);

        if (r == 0) {
                r = sqlite_run(s, SQL_TOKEN_USE, "bi", e->token_hash, (size_t)STORE_HASH_SIZE, (int64_t)e->now_ms);
                if (r == 0)
                        return -EACCES;
        }
        if (r < 0)
                return r;
        if (known)
                return sqlite_run(s, SQL_DEVICE_RENEW, "ttbbi", e->id, e->name, e->certificate_hash,
                                  (size_t)STORE_HASH_SIZE, e->token_hash, (size_t)STORE_HASH_SIZE,
                                  (int64_t)e->now_ms);
        chain_start(e->public_key, head);
        return sqlite_run(s, SQL_DEVICE_ADD, "ttbbbbi", e->id, e->name, e->public_key, (size_t)DEVICE_KEY_SIZE,
                          e->certificate_hash, (size_t)STORE_HASH_SIZE, e->token_hash, (size_t)STORE_HASH_SIZE, head,
                          sizeof(head), (int64_t)e->now_ms);
}

int sqlite_device_enrol(struct store *base, const struct store_enrol *e)
{
        struct sqlite_store *s = sqlite_of(base);
        int r = sqlite_group_begin(s);

        if (r < 0 || (r = sqlite_run(s, SQL_SAVEPOINT, "")) < 0)
                return r;
        r = enrol(s, e);
        if (r < 0 && s->in_group)
                (void)sqlite_run(s, SQL_ROLLBACK_TO, "");
        if (s->in_group)
                (void)sqlite_run(s, SQL_RELEASE, "");
        return r < 0 ? r : 0;
}

int sqlite_device_get(struct store *base, const char *id, struct store_device *ret)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        int r = sqlite_prepare(sqlite_of(base), SQL_DEVICE_GET, &q, "t", id);

        if (r < 0 || (r = sqlite_step(q)) < 0)
                return r;
        return r == 0 ? -ENOENT : device_read(q, ret);
}

int sqlite_device_retire(struct store *base, const char *name, uint64_t now_ms)
{
        int r = sqlite_run(sqlite_of(base), SQL_DEVICE_RETIRE, "ti", name, (int64_t)now_ms);

        return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

int sqlite_device_seen(struct store *base, const char *id, uint64_t now_ms)
{
        int r = sqlite_run(sqlite_of(base), SQL_DEVICE_SEEN, "ti", id, (int64_t)now_ms);

        return r < 0 ? r : 0;
}

int sqlite_device_status(struct store *base, int64_t device, const char *json)
{
        int r = sqlite_run(sqlite_of(base), SQL_DEVICE_STATUS, "it", device, json);

        return r < 0 ? r : 0;
}

int sqlite_devices(struct store *base, store_device_fn fn, void *userdata)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        int r = sqlite_prepare(sqlite_of(base), SQL_DEVICES, &q, "");

        while (r >= 0 && (r = sqlite_step(q)) > 0) {
                struct store_device d;

                r = device_read(q, &d);
                if (r < 0)
                        break;
                d.status = column_text(q, COLUMN_EXTRA);
                r = fn(&d, userdata);
        }
        return r < 0 ? r : 0;
}
