/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Evidence in, and evidence out again one record at a time. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/store/sqlite.h"

static int record_add(struct sqlite_store *s, const struct store_batch *b, const struct store_row *row)
{
        const char *slash = row->program ? strrchr(row->program, '/') : NULL;
        const char *program_name = slash ? slash + 1 : row->program;

        return sqlite_run(s, SQL_RECORD_ADD,
                          "iiiittttttttti"
                          "tttiii"
                          "tbbb",
                          b->device, (int64_t)row->seq, (int64_t)row->time_ms, (int64_t)b->received_ms, row->kind,
                          row->channel, row->channel_name, row->class, row->tier, row->layer, row->outcome,
                          row->verdict, row->user, row->uid, row->program, program_name, row->remote,
                          (int64_t)row->port, (int64_t)row->count, (int64_t)row->policy_serial, row->entry, row->hash,
                          (size_t)CHAIN_HASH_SIZE, row->salt, (size_t)CHAIN_SALT_SIZE, row->body, row->body_size);
}

/* The head did not move: are these records there already, or others in their place? */
static int append_refused(struct sqlite_store *s, const struct store_batch *b)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        uint64_t last = b->seal->first + b->seal->n - 1;
        uint8_t hash[CHAIN_HASH_SIZE];
        int r = sqlite_prepare(s, SQL_RECORD_HASH, &q, "ii", b->device, (int64_t)last);

        if (r < 0 || (r = sqlite_step(q)) < 0)
                return r;
        if (r > 0) {
                r = column_bytes(q, 0, hash, sizeof(hash));
                return r < 0 ? r : memcmp(hash, b->seal->head, sizeof(hash)) == 0 ? -EALREADY : -EILSEQ;
        }
        sqlite3_reset(q);
        /* where it ought to be linked: the record before it */
        r = sqlite_bind(q, "ii", b->device, (int64_t)b->seal->first - 1);
        if (r < 0 || (r = sqlite_step(q)) < 0)
                return r;
        if (r == 0)
                return b->seal->first == 1 ? -EILSEQ : -ESTALE;
        r = column_bytes(q, 0, hash, sizeof(hash));
        return r < 0 ? r : memcmp(hash, b->seal->prev, sizeof(hash)) == 0 ? -ESTALE : -EILSEQ;
}

static int append(struct sqlite_store *s, const struct store_batch *b)
{
        const struct chain_seal *seal = b->seal;
        int r = sqlite_run(s, SQL_DEVICE_MOVE, "iibibti", b->device, (int64_t)seal->first, seal->prev,
                           sizeof(seal->prev), (int64_t)(seal->first + seal->n), seal->head, sizeof(seal->head),
                           b->boot, (int64_t)b->received_ms);

        if (r < 0)
                return r;
        if (r == 0)
                return append_refused(s, b);
        r = sqlite_run(s, SQL_SEAL_ADD, "iiibbbti", b->device, (int64_t)seal->first, (int64_t)seal->n, seal->prev,
                       sizeof(seal->prev), seal->head, sizeof(seal->head), seal->signature, sizeof(seal->signature),
                       b->boot, (int64_t)b->received_ms);
        for (uint64_t i = 0; i < seal->n && r >= 0; i++)
                r = record_add(s, b, &b->rows[i]);
        return r;
}

int sqlite_append(struct store *base, const struct store_batch *b)
{
        struct sqlite_store *s = sqlite_of(base);
        int r = sqlite_group_begin(s);

        if (r < 0 || (r = sqlite_run(s, SQL_SAVEPOINT, "")) < 0)
                return r;
        r = append(s, b);
        if (r < 0 && s->in_group)
                (void)sqlite_run(s, SQL_ROLLBACK_TO, "");
        if (s->in_group)
                (void)sqlite_run(s, SQL_RELEASE, "");
        return r < 0 ? r : 0;
}

/* The columns of SQL_RECORDS; the first 22 are those of a search as well. */
static void row_read(sqlite3_stmt *q, struct store_row *ret)
{
        int i = 0;

        *ret = (struct store_row){.device_number = sqlite3_column_int64(q, i++)};
        ret->device = column_text(q, i++);
        ret->device_name = column_text(q, i++);
        ret->seq = (uint64_t)sqlite3_column_int64(q, i++);
        ret->time_ms = (uint64_t)sqlite3_column_int64(q, i++);
        ret->received_ms = (uint64_t)sqlite3_column_int64(q, i++);
        ret->kind = column_text(q, i++);
        ret->channel = column_text(q, i++);
        ret->channel_name = column_text(q, i++);
        ret->class = column_text(q, i++);
        ret->tier = column_text(q, i++);
        ret->layer = column_text(q, i++);
        ret->outcome = column_text(q, i++);
        ret->verdict = column_text(q, i++);
        ret->user = column_text(q, i++);
        ret->uid = sqlite3_column_int64(q, i++);
        ret->program = column_text(q, i++);
        ret->remote = column_text(q, i++);
        ret->port = (uint64_t)sqlite3_column_int64(q, i++);
        ret->count = (uint64_t)sqlite3_column_int64(q, i++);
        ret->policy_serial = (uint64_t)sqlite3_column_int64(q, i++);
        ret->entry = column_text(q, i++);
}

int sqlite_rows(sqlite3_stmt *q, store_row_fn fn, void *userdata)
{
        int r;

        while ((r = sqlite_step(q)) > 0) {
                struct store_row row;

                row_read(q, &row);
                if (sqlite3_column_count(q) > 22) {
                        if (sqlite3_column_bytes(q, 22) != CHAIN_HASH_SIZE ||
                            sqlite3_column_bytes(q, 23) != CHAIN_SALT_SIZE)
                                return -EUCLEAN;
                        row.hash = sqlite3_column_blob(q, 22);
                        row.salt = sqlite3_column_blob(q, 23);
                        row.body = sqlite3_column_blob(q, 24);
                        row.body_size = (size_t)sqlite3_column_bytes(q, 24);
                }
                r = fn(&row, userdata);
                if (r < 0)
                        break;
        }
        return r < 0 ? r : 0;
}

int sqlite_records(struct store *base, int64_t device, uint64_t first, uint64_t n, store_row_fn fn, void *userdata)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        int r = sqlite_prepare(sqlite_of(base), SQL_RECORDS, &q, "iii", device, (int64_t)first, (int64_t)(first + n));

        return r < 0 ? r : sqlite_rows(q, fn, userdata);
}

int sqlite_seal_get(struct store *base, int64_t device, uint64_t seq, struct chain_seal *ret)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        struct chain_seal seal;
        int r = sqlite_prepare(sqlite_of(base), SQL_SEAL_GET, &q, "ii", device, (int64_t)seq);

        if (r < 0 || (r = sqlite_step(q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        seal.first = (uint64_t)sqlite3_column_int64(q, 0);
        seal.n = (uint64_t)sqlite3_column_int64(q, 1);
        if (seq >= seal.first + seal.n)
                return -ENOENT;
        if (column_bytes(q, 2, seal.prev, sizeof(seal.prev)) < 0 ||
            column_bytes(q, 3, seal.head, sizeof(seal.head)) < 0 ||
            column_bytes(q, 4, seal.signature, sizeof(seal.signature)) < 0)
                return -EUCLEAN;
        *ret = seal;
        return 0;
}
