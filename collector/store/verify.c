/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every chain as it is kept, from its first seal to its head. */
#include <errno.h>
#include <string.h>
#include "base/text.h"
#include "collector/store/private.h"

#define SEALS_AT_ONCE 200

struct walk {
        const struct store_device *device;
        struct store_verify *result;
        store_problem_fn fn;
        void *userdata;
        uint8_t at[CHAIN_HASH_SIZE];
        uint64_t next;
};

static void problem(const struct walk *w, uint64_t seq, const char *what)
{
        w->result->n_problems++;
        w->fn(w->device, seq, what, w->userdata);
}

static int walk_record(const struct store_row *row, void *userdata)
{
        struct walk *w = userdata;

        if (row->erased_ms)
                chain_link(w->device->id, row->seq, w->at, row->commitment, w->at);
        else
                chain_next(w->device->id, row->seq, w->at, row->salt, row->body, row->body_size, w->at);
        if (row->seq != w->next)
                problem(w, w->next, "there is no such record");
        else if (memcmp(w->at, row->hash, sizeof(w->at)) != 0)
                problem(w, row->seq, "the record, or the one before it, is not what its hash was made of");
        memcpy(w->at, row->hash, sizeof(w->at)); /* so that each is told, not all behind the first */
        w->next = row->seq + 1;
        w->result->n_records++;
        w->result->n_erased += row->erased_ms > 0;
        return 0;
}

static int seal_check(struct store *s, struct walk *w, const struct chain_seal *seal)
{
        uint64_t before = w->result->n_records;
        int r;

        w->next = seal->first;
        memcpy(w->at, seal->prev, sizeof(w->at));
        r = store_records(s, w->device->number, seal->first, seal->n, walk_record, w);
        if (r < 0)
                return r;
        if (chain_seal_verify(seal, w->device->id, w->device->public_key) < 0)
                problem(w, seal->first, "the seal over these records is not signed by the device");
        if (w->result->n_records == before)
                w->result->n_removed += seal->n;
        else if (w->next != seal->first + seal->n || memcmp(w->at, seal->head, sizeof(w->at)) != 0)
                problem(w, w->next, "the records do not lead to what the device has sealed");
        return 0;
}

static int seal_read(const struct db_rows *q, struct chain_seal *ret)
{
        ret->first = (uint64_t)db_int(q, 0);
        ret->n = (uint64_t)db_int(q, 1);
        if (db_bytes(q, 2, ret->prev, sizeof(ret->prev)) < 0 || db_bytes(q, 3, ret->head, sizeof(ret->head)) < 0 ||
            db_bytes(q, 4, ret->signature, sizeof(ret->signature)) < 0)
                return -EUCLEAN;
        return 0;
}

/* Seals from `next` on, up to SEALS_AT_ONCE; *next and *head move to where the last one ends. */
static int seals_check(struct store *s, struct walk *w, uint64_t *next, uint8_t head[static CHAIN_HASH_SIZE])
{
        _cleanup_rows_ struct db_rows q = {0};
        int n = 0, r = db_query(s->read,
                                "SELECT first, n, prev, head, signature FROM seal WHERE device = $1 AND first >= $2"
                                " ORDER BY first LIMIT $3",
                                &q, "iii", w->device->number, (int64_t)*next, (int64_t)SEALS_AT_ONCE);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct chain_seal seal;

                r = seal_read(&q, &seal);
                if (r < 0)
                        return r;
                if (seal.first != *next || memcmp(seal.prev, head, CHAIN_HASH_SIZE) != 0)
                        problem(w, *next, "the next seal does not begin where the last one ends");
                r = seal_check(s, w, &seal);
                if (r < 0)
                        return r;
                *next = seal.first + seal.n;
                memcpy(head, seal.head, CHAIN_HASH_SIZE);
                n++;
        }
        return r < 0 ? r : n;
}

struct verify {
        struct store *store;
        struct store_verify *result;
        store_problem_fn fn;
        void *userdata;
        struct store_device *devices;
        size_t n;
};

static int device_keep(const struct store_device *d, void *userdata)
{
        struct verify *v = userdata;
        struct store_device *more = reallocarray(v->devices, v->n + 1, sizeof(*more));

        if (!more)
                return -ENOMEM;
        v->devices = more;
        v->devices[v->n] = *d;
        v->devices[v->n++].status = NULL;
        return 0;
}

static int device_check(struct verify *v, const struct store_device *d)
{
        struct walk w = {.device = d, .result = v->result, .fn = v->fn, .userdata = v->userdata};
        uint8_t head[CHAIN_HASH_SIZE];
        uint64_t next = 1;
        int r;

        chain_start(d->public_key, head);
        while ((r = seals_check(v->store, &w, &next, head)) == SEALS_AT_ONCE)
                continue;
        if (r >= 0 && (next != d->next_seq || memcmp(head, d->head, sizeof(head)) != 0))
                problem(&w, next, "the device's head is not where its records end");
        v->result->n_devices++;
        return r < 0 ? r : 0;
}

int store_verify(struct store *s, store_problem_fn fn, void *userdata, struct store_verify *ret)
{
        struct store_verify result = {0};
        struct verify v = {.store = s, .result = &result, .fn = fn, .userdata = userdata};
        int r = store_devices(s, device_keep, &v);

        for (size_t i = 0; i < v.n && r >= 0; i++)
                r = device_check(&v, &v.devices[i]);
        free(v.devices);
        if (r < 0)
                return r;
        *ret = result;
        return 0;
}
