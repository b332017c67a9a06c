/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Devices' chains: seals against keys and log entries, records against seals, columns against records. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/api/ingest.h"
#include "collector/check.h"
#include "collector/log/log.h"
#include "collector/store/schema.h"

struct chain {
        struct check *check;
        const struct check_purges *purges;
        struct check_purges *seals; /* what these say of it */
        struct store_device d;
        struct bundle_batch batch;
        uint64_t next; /* expected of the next seal */
        uint8_t head[CHAIN_HASH_SIZE];
        /* within a seal */
        uint8_t walk[CHAIN_HASH_SIZE];
        uint64_t n;
        int64_t gone; /* purges.h */
};

static bool differs(const char *a, const char *b)
{
        return strcmp(a ? a : "", b ? b : "") != 0;
}

static const char *base_name(const char *path)
{
        const char *slash = path ? strrchr(path, '/') : NULL;

        return slash ? slash + 1 : path;
}

/* The columns that are searched must say what the record says. */
#define COLUMNS                                                                                                      \
        "seq, hash, salt, body, coalesce(erased_ms, 0), commitment, time_ms, kind, channel, class, tier, layer,"     \
        " outcome, verdict, user_name, coalesce(uid, -1), program, remote, port, count, policy_serial, entry,"       \
        " channel_name, program_name, received_ms, month"

static bool columns_differ(const struct db_rows *q, const struct store_row *row)
{
        bool violation = strcmp(row->kind, "violation") == 0;
        const char *const texts[] = {row->kind,    row->channel, row->class, row->tier,    row->layer,
                                     row->outcome, row->verdict, row->user,  row->program, row->remote};
        static const int columns[] = {7, 8, 9, 10, 11, 12, 13, 14, 16, 17};

        if (differs(db_text(q, 22), row->channel_name) ||
            differs(db_text(q, 23), violation ? base_name(row->program) : NULL))
                return true;
        for (size_t i = 0; i < ELEMENTSOF(columns); i++) {
                const char *kept = db_text(q, columns[i]);

                /* what is no violation has NULL where it is searched */
                if (differs(kept, texts[i]) && (violation || i == 0 || kept))
                        return true;
        }
        return db_int(q, 6) != (int64_t)row->time_ms || db_int(q, 18) != (int64_t)row->port ||
               db_int(q, 19) != (int64_t)row->count || db_int(q, 20) != (int64_t)row->policy_serial ||
               db_int(q, 15) != row->uid || differs(db_text(q, 21), row->entry);
}

static void check_columns(struct chain *k, const struct db_rows *q, const char *body, size_t size)
{
        uint64_t seq = (uint64_t)db_int(q, 0);
        json_auto_t *document = NULL;
        struct store_row row;
        struct diag d = {0};

        if (ingest_record(body, size, k->d.id, seq, &document, &row, &d) < 0)
                check_problem(k->check, "record %llu of %s cannot be read: %s", (unsigned long long)seq, k->d.id,
                              d.text);
        else if (columns_differ(q, &row))
                check_problem(k->check,
                              "record %llu of %s: what it is searched by was changed, it says something else",
                              (unsigned long long)seq, k->d.id);
}

static int check_record(struct chain *k, const struct db_rows *q)
{
        size_t hash_size = 0, salt_size = 0, size = 0, commitment_size = 0;
        const uint8_t *hash = db_blob(q, 1, &hash_size), *salt = db_blob(q, 2, &salt_size);
        const uint8_t *kept = db_blob(q, 5, &commitment_size);
        const char *body = db_blob(q, 3, &size);
        uint64_t seq = (uint64_t)db_int(q, 0);
        uint8_t commitment[CHAIN_HASH_SIZE] = {0};

        if (db_int(q, 4) > 0) {
                k->check->erased++;
                if (kept && commitment_size == sizeof(commitment))
                        memcpy(commitment, kept, sizeof(commitment));
        } else if (salt && salt_size == CHAIN_SALT_SIZE && body) {
                chain_commit(salt, body, size, commitment);
        }
        chain_link(k->d.id, seq, k->walk, commitment, k->walk);
        if (!hash || hash_size != CHAIN_HASH_SIZE || memcmp(hash, k->walk, CHAIN_HASH_SIZE) != 0) {
                check_problem(k->check,
                              "record %llu of %s was changed: its bytes, salt or hash are not what was sealed",
                              (unsigned long long)seq, k->d.id);
                if (hash && hash_size == CHAIN_HASH_SIZE)
                        memcpy(k->walk, hash, CHAIN_HASH_SIZE); /* one complaint, not one for each that follows */
        } else if (db_int(q, 4) == 0 && body) {
                check_columns(k, q, body, size);
        }
        if (db_int(q, 24) != (int64_t)k->batch.received_ms ||
            (db_int(q, 25) != 0 && db_int(q, 25) != schema_month(k->batch.received_ms)))
                check_problem(k->check, "record %llu of %s: when it came in is not what its batch says",
                              (unsigned long long)seq, k->d.id);
        k->check->records++;
        k->n++;
        return 0;
}

/* Of a batch that is missing as a whole: by a rule, or by somebody who had no right to? */
static void check_gone(struct chain *k)
{
        const struct chain_seal *s = &k->batch.seal;

        if (k->gone & SEAL_GONE ||
            (!(k->gone & SEAL_HELD) && check_purges_has(k->purges, schema_month(k->batch.received_ms))))
                k->check->gone += s->n;
        else
                check_problem(k->check, "records %llu to %llu of %s are missing: no rule of retention removed them",
                              (unsigned long long)s->first, (unsigned long long)(s->first + s->n - 1), k->d.id);
}

static int check_records(struct chain *k)
{
        const struct chain_seal *s = &k->batch.seal;
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(k->check->db,
                         "SELECT " COLUMNS " FROM record WHERE device = $1 AND seq >= $2 AND seq < $3 ORDER BY seq",
                         &q, "iii", k->d.number, (int64_t)s->first, (int64_t)(s->first + s->n));

        memcpy(k->walk, s->prev, sizeof(k->walk));
        k->n = 0;
        while (r >= 0 && (r = db_next(&q)) > 0) {
                uint64_t seq = (uint64_t)db_int(&q, 0);

                if (seq != s->first + k->n) {
                        check_problem(k->check, "record %llu of %s is missing", (unsigned long long)(s->first + k->n),
                                      k->d.id);
                        return 0;
                }
                r = check_record(k, &q);
        }
        if (r < 0)
                return r;
        if (k->n == 0)
                check_gone(k);
        else if (k->gone & SEAL_GONE)
                check_problem(k->check, "record %llu of %s is here, though marked as removed by a rule of retention",
                              (unsigned long long)s->first, k->d.id);
        else if (k->n < s->n)
                check_problem(k->check, "record %llu of %s is missing", (unsigned long long)(s->first + k->n),
                              k->d.id);
        else if (memcmp(k->walk, s->head, sizeof(k->walk)) != 0)
                check_problem(k->check, "records %llu to %llu of %s do not lead to their sealed head",
                              (unsigned long long)s->first, (unsigned long long)(s->first + s->n - 1), k->d.id);
        return 0;
}

static int check_seal(struct chain *k, const struct db_rows *q)
{
        struct bundle_batch *b = &k->batch;
        _cleanup_buf_ struct buf entry = {0};
        size_t size = 0;
        const void *kept = db_blob(q, 8, &size);
        struct chain_seal *s = &b->seal;

        *b = (struct bundle_batch){.received_ms = (uint64_t)db_int(q, 6)};
        strcpy(b->device, k->d.id);
        s->first = (uint64_t)db_int(q, 0);
        s->n = (uint64_t)db_int(q, 1);
        if (db_bytes(q, 2, s->prev, CHAIN_HASH_SIZE) < 0 || db_bytes(q, 3, s->head, CHAIN_HASH_SIZE) < 0 ||
            db_bytes(q, 4, s->signature, CHAIN_SIGNATURE_SIZE) < 0 || db_copy(q, 5, b->boot, sizeof(b->boot)) < 0) {
                check_problem(k->check, "the seal over record %llu of %s is damaged", (unsigned long long)s->first,
                              k->d.id);
                return 0;
        }
        if (s->first != k->next || memcmp(s->prev, k->head, CHAIN_HASH_SIZE) != 0)
                check_problem(k->check, "the chain of %s is broken before record %llu: a seal was removed or changed",
                              k->d.id, (unsigned long long)s->first);
        if (chain_seal_verify(s, k->d.id, k->d.public_key) < 0)
                check_problem(k->check, "the seal over record %llu of %s is not its signature",
                              (unsigned long long)s->first, k->d.id);
        leaf_batch_format(&entry, b);
        if (buf_error(&entry) < 0)
                return -ENOMEM;
        if (db_int(q, 7) >= 0 && (!kept || size != entry.size || memcmp(kept, entry.data, size) != 0))
                check_problem(k->check, "the seal over record %llu of %s is not what the log says it was",
                              (unsigned long long)s->first, k->d.id);
        k->next = s->first + s->n;
        memcpy(k->head, s->head, sizeof(k->head));
        k->check->batches++;
        k->gone = db_int(q, 9);
        if (k->gone & SEAL_GONE)
                batches_add(&k->seals->gone, s->head);
        if (k->gone & SEAL_HELD)
                batches_add(&k->seals->held, s->head);
        return check_records(k);
}

/* A record that was given another number is in no seal: its own would look as if it were not kept any more. */
static int check_outside(struct chain *k)
{
        int64_t seq;
        int r = db_number(k->check->db,
                          "SELECT r.seq FROM record r WHERE r.device = $1 AND (r.seq < 1 OR r.seq >= $2)"
                          " AND NOT EXISTS (SELECT 1 FROM seal s WHERE s.device = $1 AND s.first <= r.seq"
                          " AND s.first + s.n > r.seq) LIMIT 1",
                          &seq, "ii", k->d.number, (int64_t)k->next);

        if (r > 0)
                check_problem(k->check, "record %lld of %s is under no seal: its number was changed", (long long)seq,
                              k->d.id);
        return r < 0 ? r : 0;
}

static int check_device(struct chain *k)
{
        const struct store_device *d = &k->d;
        uint64_t before;
        int r;

        if (!device_id_is_of(d->id, d->public_key))
                check_problem(k->check, "the key of device %s is not its own", d->id);
        do {
                _cleanup_rows_ struct db_rows q = {0};

                before = k->next;
                r = db_query(k->check->db,
                             "SELECT s.first, s.n, s.prev, s.head, s.signature, s.boot, s.received_ms,"
                             " coalesce(s.leaf, -1), l.entry, coalesce(s.gone, 0)"
                             " FROM seal s LEFT JOIN log_leaf l ON l.log = s.log AND l.number = s.leaf"
                             " WHERE s.device = $1 AND s.first >= $2 ORDER BY s.first LIMIT 500",
                             &q, "ii", d->number, (int64_t)before);
                while (r >= 0 && (r = db_next(&q)) > 0)
                        r = check_seal(k, &q);
        } while (r >= 0 && k->next > before);
        if (r >= 0 && (k->next != d->next_seq || memcmp(k->head, d->head, sizeof(k->head)) != 0))
                check_problem(k->check,
                              "device %s stands at record %llu, its last seal at %llu: a seal was removed or its "
                              "head changed",
                              d->id, (unsigned long long)d->next_seq - 1, (unsigned long long)k->next - 1);
        return r < 0 ? r : check_outside(k);
}

/* 1: the next device, at the place where its chain begins. */
static int device_next(struct chain *k)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct store_device d = {0};
        int r = db_query(k->check->db,
                         "SELECT number, id, name, public_key, next_seq, head, coalesce(branch_first, 0), branch_prev"
                         " FROM device WHERE number > $1 ORDER BY number LIMIT 1",
                         &q, "i", k->d.number);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r;
        d.number = db_int(&q, 0);
        d.next_seq = (uint64_t)db_int(&q, 4);
        k->next = (uint64_t)db_int(&q, 6);
        if (db_copy(&q, 1, d.id, sizeof(d.id)) < 0 || db_copy(&q, 2, d.name, sizeof(d.name)) < 0 ||
            db_bytes(&q, 3, d.public_key, sizeof(d.public_key)) < 0 || db_bytes(&q, 5, d.head, sizeof(d.head)) < 0 ||
            (k->next > 0 && db_bytes(&q, 7, k->head, sizeof(k->head)) < 0))
                *d.id = '\0';
        if (k->next == 0) {
                k->next = 1;
                chain_start(d.public_key, k->head);
        }
        k->d = d;
        return 1;
}

int check_devices(struct check *c)
{
        struct check_purges purges = {0}, seals = {0};
        struct chain k = {.check = c, .purges = &purges, .seals = &seals};
        int64_t gone;
        int r = check_purges_read(c, &purges);

        while (r >= 0 && (r = device_next(&k)) > 0) {
                if (*k.d.id)
                        r = check_device(&k);
                else
                        check_problem(c, "device number %lld is damaged", (long long)k.d.number);
        }
        if (r == 0)
                r = db_number(c->db,
                              "SELECT device FROM seal WHERE device NOT IN (SELECT number FROM device) LIMIT 1",
                              &gone, "");
        if (r > 0)
                check_problem(c, "device number %lld was removed, its batches are here", (long long)gone);
        if (r >= 0 && !(batches_equal(&purges.gone, &seals.gone) && batches_equal(&purges.held, &seals.held)))
                check_problem(
                        c,
                        "retention removed %llu batches and left %llu under a hold, says the audit trail; other "
                        "ones, %llu and %llu, are marked so",
                        (unsigned long long)purges.gone.n, (unsigned long long)purges.held.n,
                        (unsigned long long)seals.gone.n, (unsigned long long)seals.held.n);
        return r < 0 ? r : 0;
}

int check_database(struct check *c)
{
        int r = check_logs(c);

        if (r >= 0)
                r = check_audit(c);
        return r < 0 ? r : check_devices(c);
}
