/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Evidence in, and evidence out again one record at a time. */
#include <errno.h>
#include <string.h>
#include "collector/store/private.h"
#include "collector/store/schema.h"

static const struct db_table record_table = {
        "record",
        "device, seq, time_ms, received_ms, kind, channel, channel_name, class, tier, layer, outcome, verdict,"
        " user_name, uid, program, program_name, remote, port, count, policy_serial, entry, hash, salt, body, month",
        "iiiittttttttt"
        "itttiiit"
        "bbbi"};

static struct db_value number(uint64_t v)
{
        return (struct db_value){.type = 'i', .number = (int64_t)v};
}

static struct db_value text(const char *v)
{
        return v ? (struct db_value){.type = 't', .data = v, .size = strlen(v)} : (struct db_value){0};
}

static struct db_value bytes(const void *v, size_t size)
{
        return v ? (struct db_value){.type = 'b', .data = v, .size = size} : (struct db_value){0};
}

static int record_add(struct db *db, const struct store_batch *b, const struct store_row *row, int64_t month)
{
        const char *slash = row->program ? strrchr(row->program, '/') : NULL;
        /* only violations are searched: what is none has no value in an index */
        bool found = strcmp(row->kind, "violation") == 0;
        const struct db_value values[] = {
                number((uint64_t)b->device),
                number(row->seq),
                number(row->time_ms),
                number(b->received_ms),
                text(row->kind),
                text(found ? row->channel : NULL),
                text(row->channel_name),
                text(found ? row->class : NULL),
                text(found ? row->tier : NULL),
                text(found ? row->layer : NULL),
                text(found ? row->outcome : NULL),
                text(row->verdict),
                text(found ? row->user : NULL),
                row->uid < 0 ? (struct db_value){0} : number((uint64_t)row->uid),
                text(row->program),
                text(!found  ? NULL
                     : slash ? slash + 1
                             : row->program),
                text(row->remote),
                number(row->port),
                number(row->count),
                number(row->policy_serial),
                text(row->entry),
                bytes(row->hash, CHAIN_HASH_SIZE),
                bytes(row->salt, CHAIN_SALT_SIZE),
                bytes(row->body, row->body_size),
                number((uint64_t)month),
        };

        return db_bulk(db, &record_table, values);
}

/* 1: the hash of a record that is kept. */
static int record_hash(struct db *db, int64_t device, uint64_t seq, uint8_t ret[static CHAIN_HASH_SIZE])
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(db, "SELECT hash FROM record WHERE device = $1 AND seq = $2", &q, "ii", device,
                         (int64_t)seq);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r;
        r = db_bytes(&q, 0, ret, CHAIN_HASH_SIZE);
        return r < 0 ? r : 1;
}

/* The head did not move: are these records there already, or others in their place? */
static int append_refused(struct db *db, const struct store_batch *b)
{
        uint8_t hash[CHAIN_HASH_SIZE];
        int r = db_flush(db);

        if (r == 0)
                r = record_hash(db, b->device, b->seal->first + b->seal->n - 1, hash);
        if (r < 0)
                return r;
        if (r > 0)
                return memcmp(hash, b->seal->head, sizeof(hash)) == 0 ? -EALREADY : -EILSEQ;
        /* where it ought to be linked: the record before it */
        r = record_hash(db, b->device, b->seal->first - 1, hash);
        if (r < 0)
                return r;
        if (r == 0)
                return b->seal->first == 1 ? -EILSEQ : -ESTALE;
        return memcmp(hash, b->seal->prev, sizeof(hash)) == 0 ? -ESTALE : -EILSEQ;
}

static int append(struct store *s, const struct store_batch *b)
{
        const struct chain_seal *seal = b->seal;
        int64_t month = schema_month(b->received_ms);
        int r = db_run(s->write,
                       "UPDATE device SET next_seq = $4, head = $5, boot = $6, last_seen_ms = $7"
                       " WHERE number = $1 AND next_seq = $2 AND head = $3",
                       "iibibti", b->device, (int64_t)seal->first, seal->prev, sizeof(seal->prev),
                       (int64_t)(seal->first + seal->n), seal->head, sizeof(seal->head), b->boot,
                       (int64_t)b->received_ms);

        if (r < 0)
                return r;
        if (r == 0)
                return append_refused(s->write, b);
        r = db_run(s->write,
                   "INSERT INTO seal (device, first, n, prev, head, signature, boot, received_ms)"
                   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                   "iiibbbti", b->device, (int64_t)seal->first, (int64_t)seal->n, seal->prev, sizeof(seal->prev),
                   seal->head, sizeof(seal->head), seal->signature, sizeof(seal->signature), b->boot,
                   (int64_t)b->received_ms);
        for (uint64_t i = 0; i < seal->n && r >= 0; i++)
                r = record_add(s->write, b, &b->rows[i], month);
        return r;
}

int store_append(struct store *s, const struct store_batch *b)
{
        int r = db_savepoint(s->write);

        r = r < 0 ? r : db_release(s->write, append(s, b));
        return r < 0 ? r : 0;
}

static void row_read(const struct db_rows *q, struct store_row *ret)
{
        int i = 0;

        *ret = (struct store_row){.device_number = db_int(q, i++)};
        ret->device = db_text(q, i++);
        ret->device_name = db_text(q, i++);
        ret->seq = (uint64_t)db_int(q, i++);
        ret->time_ms = (uint64_t)db_int(q, i++);
        ret->received_ms = (uint64_t)db_int(q, i++);
        ret->kind = db_text(q, i++);
        ret->channel = db_text(q, i++);
        ret->channel_name = db_text(q, i++);
        ret->class = db_text(q, i++);
        ret->tier = db_text(q, i++);
        ret->layer = db_text(q, i++);
        ret->outcome = db_text(q, i++);
        ret->verdict = db_text(q, i++);
        ret->user = db_text(q, i++);
        ret->uid = db_int(q, i++);
        ret->program = db_text(q, i++);
        ret->remote = db_text(q, i++);
        ret->port = (uint64_t)db_int(q, i++);
        ret->count = (uint64_t)db_int(q, i++);
        ret->policy_serial = (uint64_t)db_int(q, i++);
        ret->entry = db_text(q, i++);
}
#define ROW_COLUMN_HASH 22

static int proof_read(const struct db_rows *q, struct store_row *row)
{
        size_t hash_size, salt_size, commitment_size;

        row->hash = db_blob(q, ROW_COLUMN_HASH, &hash_size);
        row->salt = db_blob(q, ROW_COLUMN_HASH + 1, &salt_size);
        row->body = db_blob(q, ROW_COLUMN_HASH + 2, &row->body_size);
        row->erased_ms = (uint64_t)db_int(q, ROW_COLUMN_HASH + 3);
        row->commitment = db_blob(q, ROW_COLUMN_HASH + 4, &commitment_size);
        if (hash_size != CHAIN_HASH_SIZE ||
            (row->erased_ms ? commitment_size != CHAIN_HASH_SIZE : salt_size != CHAIN_SALT_SIZE))
                return -EUCLEAN;
        return 0;
}

int store_rows(struct db_rows *q, bool proof, store_row_fn fn, void *userdata)
{
        int r;

        while ((r = db_next(q)) > 0) {
                struct store_row row;

                row_read(q, &row);
                r = proof ? proof_read(q, &row) : 0;
                if (r == 0)
                        r = fn(&row, userdata);
                if (r < 0)
                        break;
        }
        return r < 0 ? r : 0;
}

int store_records(struct store *s, int64_t device, uint64_t first, uint64_t n, store_row_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read,
                         "SELECT " ROW_COLUMNS ROW_PROOF_COLUMNS " FROM record r JOIN device d ON d.number = r.device"
                         " WHERE r.device = $1 AND r.seq >= $2 AND r.seq < $3 ORDER BY r.seq",
                         &q, "iii", device, (int64_t)first, (int64_t)(first + n));

        return r < 0 ? r : store_rows(&q, true, fn, userdata);
}

int store_seal_get(struct store *s, int64_t device, uint64_t seq, struct chain_seal *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct chain_seal seal;
        int r = db_query(s->read,
                         "SELECT first, n, prev, head, signature FROM seal WHERE device = $1 AND first <= $2"
                         " ORDER BY first DESC LIMIT 1",
                         &q, "ii", device, (int64_t)seq);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        seal.first = (uint64_t)db_int(&q, 0);
        seal.n = (uint64_t)db_int(&q, 1);
        if (seq >= seal.first + seal.n)
                return -ENOENT;
        if (db_bytes(&q, 2, seal.prev, sizeof(seal.prev)) < 0 || db_bytes(&q, 3, seal.head, sizeof(seal.head)) < 0 ||
            db_bytes(&q, 4, seal.signature, sizeof(seal.signature)) < 0)
                return -EUCLEAN;
        *ret = seal;
        return 0;
}
