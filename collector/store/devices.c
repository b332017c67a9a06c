/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "collector/store/private.h"

#define DEVICES_MAX 20000
#define DEVICE_COLUMNS                                                                                               \
        "number, id, name, public_key, next_seq, head, enrolled_ms, last_seen_ms, coalesce(retired_ms, 0)"
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
#define DEVICE_GET "SELECT " DEVICE_COLUMNS ", token_hash FROM device WHERE id = $1"

static int device_read(const struct db_rows *q, struct store_device *ret)
{
        struct store_device d = {
                .number = db_int(q, COLUMN_NUMBER),
                .next_seq = (uint64_t)db_int(q, COLUMN_NEXT_SEQ),
                .enrolled_ms = (uint64_t)db_int(q, COLUMN_ENROLLED),
                .last_seen_ms = (uint64_t)db_int(q, COLUMN_LAST_SEEN),
                .retired_ms = (uint64_t)db_int(q, COLUMN_RETIRED),
        };

        if (db_copy(q, COLUMN_ID, d.id, sizeof(d.id)) < 0 || db_copy(q, COLUMN_NAME, d.name, sizeof(d.name)) < 0 ||
            db_bytes(q, COLUMN_PUBLIC_KEY, d.public_key, sizeof(d.public_key)) < 0 ||
            db_bytes(q, COLUMN_HEAD, d.head, sizeof(d.head)) < 0)
                return -EUCLEAN;
        *ret = d;
        return 0;
}

int store_token_add(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], unsigned uses, uint64_t expires_ms)
{
        int r = db_run(s->write, "INSERT INTO token (hash, uses, expires_ms) VALUES ($1, $2, $3)", "bii", hash,
                       (size_t)STORE_HASH_SIZE, (int64_t)uses, (int64_t)expires_ms);

        return r < 0 ? r : 0;
}

/* 1: this device used this very token before. */
static int device_used_token(struct db *db, const struct store_enrol *e, bool *ret_known)
{
        _cleanup_rows_ struct db_rows q = {0};
        uint8_t hash[STORE_HASH_SIZE];
        int r = db_query(db, DEVICE_GET, &q, "t", e->id);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        *ret_known = r > 0;
        if (r == 0 || db_int(&q, COLUMN_RETIRED) != 0)
                return 0;
        r = db_bytes(&q, COLUMN_EXTRA, hash, sizeof(hash));
        return r < 0 ? r : memcmp(hash, e->token_hash, sizeof(hash)) == 0;
}

#define TOKEN_HOLDS "hash = $1 AND uses > 0 AND expires_ms > $2"

/* Before anything is written. A stranger does not learn which names there are. */
static int enrol_check(struct db *db, const struct store_enrol *e, bool used)
{
        int64_t n = used;
        int r = used ? 0
                     : db_number(db, "SELECT count(*) FROM token WHERE " TOKEN_HOLDS, &n, "bi", e->token_hash,
                                 (size_t)STORE_HASH_SIZE, (int64_t)e->now_ms);

        if (r < 0 || n == 0)
                return r < 0 ? r : -EACCES;
        r = db_number(db, "SELECT count(*) FROM device WHERE name = $1 AND id <> $2 AND retired_ms IS NULL", &n, "tt",
                      e->name, e->id);
        return r < 0 ? r : n > 0 ? -EEXIST : 0;
}

static int enrol(struct db *db, const struct store_enrol *e)
{
        uint8_t head[CHAIN_HASH_SIZE];
        bool known = false;
        int r = device_used_token(db, e, &known), used = r;

        if (r >= 0)
                r = enrol_check(db, e, used);
        if (r == 0 && !used) {
                r = db_run(db, "UPDATE token SET uses = uses - 1 WHERE " TOKEN_HOLDS, "bi", e->token_hash,
                           (size_t)STORE_HASH_SIZE, (int64_t)e->now_ms);
                if (r == 0)
                        return -EACCES;
        }
        if (r < 0)
                return r;
        if (known)
                return db_run(db,
                              "UPDATE device SET name = $2, certificate_hash = $3, token_hash = $4,"
                              " last_seen_ms = $5, retired_ms = NULL WHERE id = $1",
                              "ttbbi", e->id, e->name, e->certificate_hash, (size_t)STORE_HASH_SIZE, e->token_hash,
                              (size_t)STORE_HASH_SIZE, (int64_t)e->now_ms);
        chain_start(e->public_key, head);
        return db_run(db,
                      "INSERT INTO device (id, name, public_key, certificate_hash, token_hash, next_seq, head,"
                      " enrolled_ms, last_seen_ms) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $7)",
                      "ttbbbbi", e->id, e->name, e->public_key, (size_t)DEVICE_KEY_SIZE, e->certificate_hash,
                      (size_t)STORE_HASH_SIZE, e->token_hash, (size_t)STORE_HASH_SIZE, head, sizeof(head),
                      (int64_t)e->now_ms);
}

int store_device_enrol(struct store *s, const struct store_enrol *e)
{
        int r = db_savepoint(s->write);

        r = r < 0 ? r : db_release(s->write, enrol(s->write, e));
        return r < 0 ? r : 0;
}

int store_device_get(struct store *s, const char *id, struct store_device *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->write, DEVICE_GET, &q, "t", id);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        return r == 0 ? -ENOENT : device_read(&q, ret);
}

int store_device_retire(struct store *s, const char *name, uint64_t now_ms)
{
        int r = db_run(s->write,
                       "UPDATE device SET retired_ms = $2 WHERE (id = $1 OR name = $1) AND retired_ms IS NULL", "ti",
                       name, (int64_t)now_ms);

        return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

int store_device_seen(struct store *s, const char *id, uint64_t now_ms)
{
        int r = db_run(s->write, "UPDATE device SET last_seen_ms = $2 WHERE id = $1 AND last_seen_ms < $2", "ti", id,
                       (int64_t)now_ms);

        return r < 0 ? r : 0;
}

int store_device_status(struct store *s, int64_t device, const char *json)
{
        int r = db_run(s->write, "UPDATE device SET status = $2 WHERE number = $1", "it", device, json);

        return r < 0 ? r : 0;
}

int store_devices(struct store *s, store_device_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read,
                         "SELECT " DEVICE_COLUMNS ", status FROM device WHERE retired_ms IS NULL"
                         " ORDER BY name LIMIT $1",
                         &q, "i", (int64_t)DEVICES_MAX);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct store_device d;

                r = device_read(&q, &d);
                if (r < 0)
                        break;
                d.status = db_text(&q, COLUMN_EXTRA);
                r = fn(&d, userdata);
        }
        return r < 0 ? r : 0;
}
