/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "collector/store/private.h"

#define DEVICES_MAX 20000
#define DEVICE_COLUMNS                                                                                               \
        "number, id, name, public_key, next_seq, head, enrolled_ms, last_seen_ms, coalesce(retired_ms, 0),"          \
        " certificate_hash, issued_hash, coalesce(certificate_ms, enrolled_ms), coalesce(revoked_ms, 0)"
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
       COLUMN_CERTIFICATE,
       COLUMN_ISSUED,
       COLUMN_CERTIFICATE_SINCE,
       COLUMN_REVOKED,
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
                .certificate_ms = (uint64_t)db_int(q, COLUMN_CERTIFICATE_SINCE),
                .revoked_ms = (uint64_t)db_int(q, COLUMN_REVOKED),
        };
        size_t issued_size;

        if (db_copy(q, COLUMN_ID, d.id, sizeof(d.id)) < 0 || db_copy(q, COLUMN_NAME, d.name, sizeof(d.name)) < 0 ||
            db_bytes(q, COLUMN_PUBLIC_KEY, d.public_key, sizeof(d.public_key)) < 0 ||
            db_bytes(q, COLUMN_HEAD, d.head, sizeof(d.head)) < 0 ||
            db_bytes(q, COLUMN_CERTIFICATE, d.certificate_hash, sizeof(d.certificate_hash)) < 0)
                return -EUCLEAN;
        if (db_blob(q, COLUMN_ISSUED, &issued_size) &&
            db_bytes(q, COLUMN_ISSUED, d.issued_hash, sizeof(d.issued_hash)) < 0)
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

int store_token_replaces(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], const char *name)
{
        int r = db_run(s->write, "UPDATE token SET replaces = $2 WHERE hash = $1", "bt", hash,
                       (size_t)STORE_HASH_SIZE, name);

        return r < 0 ? r : 0;
}

/* What is known of the device that enrols. */
struct known {
        bool device; /* its key */
        bool token; /* it used this very token before */
        bool replaces; /* it may take another device's name */
};

#define TOKEN_HOLDS "hash = $1 AND uses > 0 AND expires_ms > $2"

static int known_get(struct db *db, const struct store_enrol *e, struct known *k)
{
        _cleanup_rows_ struct db_rows q = {0};
        uint8_t hash[STORE_HASH_SIZE];
        int r = db_query(db, DEVICE_GET, &q, "t", e->id);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        k->device = r > 0;
        if (r > 0 && db_int(&q, COLUMN_REVOKED) != 0)
                return -EKEYREVOKED;
        if (r == 0 || db_int(&q, COLUMN_RETIRED) != 0 || !e->token_hash)
                return 0;
        r = db_bytes(&q, COLUMN_EXTRA, hash, sizeof(hash));
        k->token = r == 0 && memcmp(hash, e->token_hash, sizeof(hash)) == 0;
        return r;
}

/* Before anything is written. A stranger does not learn which names there are. */
static int token_check(struct db *db, const struct store_enrol *e, struct known *k)
{
        _cleanup_rows_ struct db_rows q = {0};
        const char *name;
        int r;

        if (!e->token_hash)
                k->replaces = true;
        if (!e->token_hash || k->token)
                return 0;
        r = db_query(db, "SELECT replaces FROM token WHERE " TOKEN_HOLDS, &q, "bi", e->token_hash,
                     (size_t)STORE_HASH_SIZE, (int64_t)e->now_ms);
        if (r < 0 || (r = db_next(&q)) <= 0)
                return r < 0 ? r : -EACCES;
        name = db_text(&q, 0);
        k->replaces = name && strcmp(name, e->name) == 0;
        return 0;
}

/* 1: another device had the name, and is retired. */
static int name_take(struct db *db, const struct store_enrol *e, const struct known *k)
{
        int64_t n = 0;
        int r = db_number(db, "SELECT count(*) FROM device WHERE name = $1 AND id <> $2 AND retired_ms IS NULL", &n,
                          "tt", e->name, e->id);

        if (r < 0 || n == 0)
                return r < 0 ? r : 0;
        if (!k->replaces)
                return -EEXIST;
        r = db_run(db,
                   "UPDATE device SET retired_ms = $3, replaced_by = $2 WHERE name = $1 AND id <> $2"
                   " AND retired_ms IS NULL",
                   "tti", e->name, e->id, (int64_t)e->now_ms);
        return r < 0 ? r : 1;
}

static int device_put(struct db *db, const struct store_enrol *e, bool known)
{
        static const uint8_t none[STORE_HASH_SIZE];
        const uint8_t *token = e->token_hash ?: none;
        uint8_t head[CHAIN_HASH_SIZE];

        /* the certificate of before stays in use until the new one is: perhaps this answer is lost */
        if (known)
                return db_run(db,
                              "UPDATE device SET name = $2, issued_hash = $3, token_hash = $4,"
                              " last_seen_ms = $5, retired_ms = NULL, replaced_by = NULL WHERE id = $1",
                              "ttbbi", e->id, e->name, e->certificate_hash, (size_t)STORE_HASH_SIZE, token,
                              (size_t)STORE_HASH_SIZE, (int64_t)e->now_ms);
        chain_start(e->public_key, head);
        return db_run(db,
                      "INSERT INTO device (id, name, public_key, certificate_hash, token_hash, next_seq, head,"
                      " enrolled_ms, last_seen_ms) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $7)",
                      "ttbbbbi", e->id, e->name, e->public_key, (size_t)DEVICE_KEY_SIZE, e->certificate_hash,
                      (size_t)STORE_HASH_SIZE, token, (size_t)STORE_HASH_SIZE, head, sizeof(head),
                      (int64_t)e->now_ms);
}

static int enrol(struct db *db, const struct store_enrol *e)
{
        struct known k = {0};
        int replaced, r = known_get(db, e, &k);

        if (r == 0)
                r = token_check(db, e, &k);
        replaced = r < 0 ? r : name_take(db, e, &k);
        if (replaced < 0)
                return replaced;
        if (e->token_hash && !k.token) {
                r = db_run(db, "UPDATE token SET uses = uses - 1 WHERE " TOKEN_HOLDS, "bi", e->token_hash,
                           (size_t)STORE_HASH_SIZE, (int64_t)e->now_ms);
                if (r <= 0)
                        return r < 0 ? r : -EACCES;
        }
        r = device_put(db, e, k.device);
        return r < 0 ? r : replaced;
}

int store_device_enrol(struct store *s, const struct store_enrol *e)
{
        int r = db_savepoint(s->write);

        return r < 0 ? r : db_release(s->write, enrol(s->write, e));
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

int store_device_revoke(struct store *s, const char *name, uint64_t now_ms)
{
        int r = db_run(s->write,
                       "UPDATE device SET retired_ms = coalesce(retired_ms, $2), revoked_ms = $2"
                       " WHERE id = $1 OR (name = $1 AND retired_ms IS NULL)",
                       "ti", name, (int64_t)now_ms);

        return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

int store_retired_since(struct store *s, uint64_t since_ms, store_facet_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->write, "SELECT id FROM device WHERE retired_ms >= $1", &q, "i", (int64_t)since_ms);

        while (r >= 0 && (r = db_next(&q)) > 0)
                r = fn(db_text(&q, 0), userdata);
        return r < 0 ? r : 0;
}

int store_device_issue(struct store *s, int64_t device, const uint8_t hash[static STORE_HASH_SIZE])
{
        int r = db_run(s->write, "UPDATE device SET issued_hash = $2 WHERE number = $1", "ib", device, hash,
                       (size_t)STORE_HASH_SIZE);

        return r < 0 ? r : 0;
}

int store_device_adopt(struct store *s, int64_t device, const uint8_t hash[static STORE_HASH_SIZE], uint64_t now_ms)
{
        int r = db_run(s->write,
                       "UPDATE device SET certificate_hash = $2, certificate_ms = $3, issued_hash = NULL"
                       " WHERE number = $1 AND issued_hash = $2",
                       "ibi", device, hash, (size_t)STORE_HASH_SIZE, (int64_t)now_ms);

        return r < 0 ? r : 0;
}

int store_unseen(struct store *s, uint64_t since_ms, uint64_t *ret)
{
        int64_t n = 0;
        int r = db_number(s->read, "SELECT count(*) FROM device WHERE retired_ms IS NULL AND last_seen_ms < $1", &n,
                          "i", (int64_t)since_ms);

        *ret = (uint64_t)n;
        return r < 0 ? r : 0;
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

static int devices_each(struct db *db, const char *sql, store_device_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(db, sql, &q, "i", (int64_t)DEVICES_MAX);

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

int store_devices(struct store *s, store_device_fn fn, void *userdata)
{
        return devices_each(s->read,
                            "SELECT " DEVICE_COLUMNS
                            ", status FROM device WHERE retired_ms IS NULL ORDER BY name LIMIT $1",
                            fn, userdata);
}

int store_devices_replaced(struct store *s, store_device_fn fn, void *userdata)
{
        return devices_each(s->read,
                            "SELECT " DEVICE_COLUMNS ", status FROM device WHERE retired_ms IS NOT NULL"
                            " AND replaced_by IS NOT NULL ORDER BY name LIMIT $1",
                            fn, userdata);
}

int store_boot_note(struct store *s, int64_t device, const char *boot, uint64_t now_ms)
{
        int64_t first_ms = 0, later = 0;
        int r = db_number(s->write, "SELECT first_ms FROM device_boot WHERE device = $1 AND boot = $2", &first_ms,
                          "it", device, boot);

        if (r == 0) {
                r = db_run(s->write, "INSERT INTO device_boot (device, boot, first_ms) VALUES ($1, $2, $3)", "iti",
                           device, boot, (int64_t)now_ms);
                return r < 0 ? r : 0;
        }
        if (r > 0)
                r = db_number(s->write, "SELECT count(*) FROM device_boot WHERE device = $1 AND first_ms > $2",
                              &later, "ii", device, first_ms);
        return r < 0 ? r : later > 0;
}
