/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has no entry in a log yet gets one here. Rows are read into memory first: they are written while they are
 * gone through. */
#include <errno.h>
#include <string.h>
#include "collector/log/private.h"

/* Other collectors' hands are on other rows. */
static const char *const skip_locked[_DB_KIND_MAX] = {
        [DB_SQLITE] = "", [DB_POSTGRES] = " FOR UPDATE OF s SKIP LOCKED"};

struct found {
        int64_t device; /* 0: an audit line */
        uint64_t number; /* of the audit line, or the batch's first record */
        uint8_t salt[CHAIN_SALT_SIZE];
        struct buf entry;
};

struct found_list {
        struct found *list;
        size_t n;
};

static void found_done(struct found_list *l)
{
        for (size_t i = 0; i < l->n; i++)
                buf_done(&l->list[i].entry);
        free(l->list);
}

static int seal_read(const struct db_rows *q, struct found *ret)
{
        struct bundle_batch b = {.received_ms = (uint64_t)db_int(q, 8)};

        b.seal.first = (uint64_t)db_int(q, 3);
        b.seal.n = (uint64_t)db_int(q, 4);
        if (db_copy(q, 1, b.device, sizeof(b.device)) < 0 || db_copy(q, 2, b.boot, sizeof(b.boot)) < 0 ||
            db_bytes(q, 5, b.seal.prev, CHAIN_HASH_SIZE) < 0 || db_bytes(q, 6, b.seal.head, CHAIN_HASH_SIZE) < 0 ||
            db_bytes(q, 7, b.seal.signature, CHAIN_SIGNATURE_SIZE) < 0)
                return -EUCLEAN;
        *ret = (struct found){.device = db_int(q, 0), .number = b.seal.first};
        leaf_batch_format(&ret->entry, &b);
        return buf_error(&ret->entry);
}

static int audit_read(const struct db_rows *q, struct found *ret)
{
        _cleanup_buf_ struct buf line = {0};
        uint8_t commitment[CHAIN_HASH_SIZE];

        *ret = (struct found){.number = (uint64_t)db_int(q, 0)};
        audit_line_format(&line, ret->number, (uint64_t)db_int(q, 1), db_text(q, 2), db_text(q, 3), db_text(q, 4));
        if (buf_error(&line) < 0)
                return buf_error(&line);
        randombytes_buf(ret->salt, sizeof(ret->salt));
        chain_commit(ret->salt, line.data, line.size, commitment);
        leaf_audit_format(&ret->entry, ret->number, commitment);
        return buf_error(&ret->entry);
}

static int find(struct db *db, const char *select, int (*read)(const struct db_rows *q, struct found *ret),
                struct found_list *l)
{
        _cleanup_rows_ struct db_rows q = {0};
        char sql[512];
        int r;

        snprintf(sql, sizeof(sql), "%s LIMIT %zu%s", select, TLOG_TAKE_MAX - l->n, skip_locked[db_kind(db)]);
        r = db_query(db, sql, &q, "");
        if (r < 0)
                return r;
        while ((r = db_next(&q)) > 0) {
                r = read(&q, &l->list[l->n]);
                if (r < 0)
                        break;
                l->n++;
        }
        return r;
}

static int enter(struct tlog *l, const struct found *f)
{
        struct db *db = store_db(l->store);
        int64_t number = (int64_t)l->edge.size;
        uint8_t hash[MERKLE_HASH_SIZE];
        int r;

        if (f->device)
                r = db_run(db,
                           "UPDATE seal SET log = $1, leaf = $2 WHERE device = $3 AND first = $4 AND leaf IS NULL",
                           "iiii", l->number, number, f->device, (int64_t)f->number);
        else
                r = db_run(db,
                           "UPDATE admin_audit SET log = $1, leaf = $2, salt = $3 WHERE number = $4 AND leaf IS NULL",
                           "iibi", l->number, number, f->salt, sizeof(f->salt), (int64_t)f->number);
        if (r <= 0)
                return r; /* 0: another collector was faster */
        r = db_run(db, "INSERT INTO log_leaf (log, number, entry) VALUES ($1, $2, $3)", "iib", l->number, number,
                   f->entry.data, f->entry.size);
        if (r < 0)
                return r;
        merkle_leaf(f->entry.data, f->entry.size, hash);
        return merkle_edge_add(&l->edge, hash, tlog_put_tile, l);
}

int tlog_take(struct tlog *l)
{
        _cleanup_(found_done) struct found_list found = {.list = calloc(TLOG_TAKE_MAX, sizeof(*found.list))};
        struct db *db = store_db(l->store);
        int r;

        if (!found.list)
                return -ENOMEM;
        r = find(db,
                 "SELECT s.number, s.time_ms, s.who, s.action, s.detail FROM admin_audit s WHERE s.leaf IS NULL"
                 " ORDER BY s.number",
                 audit_read, &found);
        if (r == 0 && found.n < TLOG_TAKE_MAX)
                r = find(db,
                         "SELECT s.device, d.id, s.boot, s.first, s.n, s.prev, s.head, s.signature, s.received_ms"
                         " FROM seal s JOIN device d ON d.number = s.device WHERE s.leaf IS NULL"
                         " ORDER BY s.received_ms, s.device, s.first",
                         seal_read, &found);
        for (size_t i = 0; i < found.n && r >= 0; i++)
                r = enter(l, &found.list[i]);
        return r < 0 ? r : 0;
}
