/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "evidence/verify.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

struct verify *verify_new(const struct verify_options *o)
{
        struct verify *v = calloc(1, sizeof(*v));

        if (!v)
                return NULL;
        v->options = *o;
        crypto_hash_sha256_init(&v->hash);
        return v;
}

struct verify *verify_free(struct verify *v)
{
        if (!v)
                return NULL;
        for (size_t i = 0; i < v->n_problems; i++)
                free(v->problems[i].text);
        for (size_t i = 0; i < v->n_devices; i++)
                free(v->devices[i].holes);
        free(v->batch.records);
        free(v->filter);
        free(v->devices);
        free(v->echoes);
        free(v->problems);
        free(v);
        return NULL;
}

void verify_problem(struct verify *v, const struct verify_device *d, uint64_t seq, const char *format, ...)
{
        struct verify_problem *list, p = {.line = v->line, .byte = v->byte, .seq = seq};
        va_list ap;

        if (v->n_problems == VERIFY_PROBLEMS_MAX) {
                v->n_more_problems++;
                return;
        }
        va_start(ap, format);
        if (vasprintf(&p.text, format, ap) < 0)
                p.text = NULL;
        va_end(ap);
        list = p.text ? reallocarray(v->problems, v->n_problems + 1, sizeof(*list)) : NULL;
        if (!list) {
                free(p.text);
                v->no_memory = true; /* never a verdict without this problem */
                return;
        }
        if (d)
                strcpy(p.device, d->d.id);
        v->problems = list;
        list[v->n_problems++] = p;
}

struct verify_log *verify_log_find(struct verify *v, const char *origin)
{
        for (size_t i = 0; i < v->n_logs; i++)
                if (strcmp(v->logs[i].key.name, origin) == 0)
                        return &v->logs[i];
        return NULL;
}

/* ---- head and devices ---- */

static void take_head(struct verify *v, json_t *o)
{
        const char *format = json_string_value(json_object_get(o, "onchannel"));
        const char *origin = json_string_value(json_object_get(o, "origin"));
        const char *version = json_string_value(json_object_get(o, "version"));

        if (v->line != 1)
                verify_problem(v, NULL, 0, "a second head: two bundles were joined");
        else if (!format || strcmp(format, BUNDLE_FORMAT) != 0)
                verify_problem(v, NULL, 0, "the format is '%s', this program knows %s", format ? format : "",
                               BUNDLE_FORMAT);
        else if (!origin || strlen(origin) >= sizeof(v->origin))
                verify_problem(v, NULL, 0, "the head names no origin");
        else {
                strcpy(v->origin, origin);
                snprintf(v->version, sizeof(v->version), "%s", version ? version : "");
                v->created_ms = (uint64_t)json_integer_value(json_object_get(o, "created"));
                v->from_ms = (uint64_t)json_integer_value(json_object_get(o, "from"));
                v->to_ms = (uint64_t)json_integer_value(json_object_get(o, "to"));
                v->filter = json_dumps(json_object_get(o, "filter"), JSON_COMPACT);
                v->has_head = true;
        }
}

static void take_device(struct verify *v, json_t *o)
{
        struct verify_device *list, d = {0};
        const char *what;

        if (bundle_device_parse(o, &d.d, &what) < 0) {
                verify_problem(v, NULL, 0, "the device's '%s' is missing or not valid", what);
                return;
        }
        if (!device_id_is_of(d.d.id, d.d.public_key)) {
                verify_problem(v, &d, 0, "the device's name is not that of its key");
                return;
        }
        list = v->n_devices < VERIFY_DEVICES_MAX ? reallocarray(v->devices, v->n_devices + 1, sizeof(*list)) : NULL;
        if (!list) {
                v->no_memory = true;
                return;
        }
        v->devices = list;
        list[v->n_devices++] = d;
}

/* Batches come device by device, behind the device's line. */
static struct verify_device *device_of(struct verify *v, const char *id)
{
        if (v->n_devices > 0 && strcmp(v->devices[v->n_devices - 1].d.id, id) == 0)
                return &v->devices[v->n_devices - 1];
        return NULL;
}

/* ---- batches ---- */

static void check_place(struct verify *v, struct verify_device *d, const struct chain_seal *s)
{
        uint8_t start[CHAIN_HASH_SIZE];

        if (d->first == 0) {
                d->first = s->first;
                chain_start(d->d.public_key, start);
                if (s->first == 1 && memcmp(start, s->prev, sizeof(start)) != 0)
                        verify_problem(v, d, 1, "the first record does not hang on the device's key");
        } else if (s->first > d->next) {
                verify_problem(v, d, d->next, "records %" PRIu64 " to %" PRIu64 " are missing", d->next,
                               s->first - 1);
        } else if (s->first < d->next) {
                verify_problem(v, d, s->first, "record %" PRIu64 " comes twice: a fork, or batches out of order",
                               s->first);
        } else if (memcmp(s->prev, d->head, sizeof(d->head)) != 0) {
                verify_problem(v, d, s->first,
                               "fork: record %" PRIu64 " does not follow from record %" PRIu64 " before it", s->first,
                               s->first - 1);
        }
        d->next = s->first + s->n;
        memcpy(d->head, s->head, sizeof(d->head));
}

/* Through the commitments, those of erased and withheld records as well. */
static void check_chain(struct verify *v, const struct verify_device *d, const struct bundle_batch *b)
{
        uint8_t hash[CHAIN_HASH_SIZE];

        if (!b->records)
                return;
        memcpy(hash, b->seal.prev, sizeof(hash));
        for (uint64_t i = 0; i < b->seal.n; i++)
                chain_link(b->device, b->seal.first + i, hash, b->records[i].commitment, hash);
        if (memcmp(hash, b->seal.head, sizeof(hash)) != 0)
                verify_problem(v, d, b->seal.first,
                               "the commitments of records %" PRIu64 " to %" PRIu64 " do not lead to the sealed head",
                               b->seal.first, b->seal.first + b->seal.n - 1);
}

static void count_states(struct verify_device *d, const struct bundle_batch *b)
{
        d->batches++;
        if (!b->records)
                d->withheld += b->seal.n - b->n_gone;
        d->gone += b->n_gone;
        for (uint64_t i = 0; b->records && i < b->seal.n; i++) {
                d->withheld += b->records[i].state == BUNDLE_WITHHELD;
                d->erased += b->records[i].state == BUNDLE_ERASED;
        }
}

static void take_batch(struct verify *v, json_t *o)
{
        _cleanup_buf_ struct buf entry = {0};
        struct verify_device *d;
        struct bundle_batch b;
        const char *what = NULL;
        int r = bundle_batch_parse(o, &b, &what);

        if (r == -ENOMEM) {
                v->no_memory = true;
                return;
        }
        if (r < 0) {
                verify_problem(v, NULL, 0, "the batch's '%s' is missing or not valid", what);
                v->skipping = true;
                return;
        }
        d = device_of(v, b.device);
        if (!d) {
                verify_problem(v, NULL, b.seal.first, "a batch of %s stands where another device's are", b.device);
                free(b.records);
                v->skipping = true;
                return;
        }
        check_place(v, d, &b.seal);
        check_chain(v, d, &b);
        if (chain_seal_verify(&b.seal, b.device, d->d.public_key) < 0)
                verify_problem(v, d, b.seal.first,
                               "the seal over records %" PRIu64 " to %" PRIu64 " is not this device's signature",
                               b.seal.first, b.seal.first + b.seal.n - 1);
        leaf_batch_format(&entry, &b);
        if (!verify_leaf(v, d, &b.leaf, &entry))
                d->unlogged++;
        count_states(d, &b);
        free(v->batch.records);
        v->batch = b;
        v->batch_next = 0;
        v->in_batch = b.records;
}

static bool batch_skip_absent(struct verify *v)
{
        while (v->batch_next < v->batch.seal.n && v->batch.records[v->batch_next].state != BUNDLE_PRESENT)
                v->batch_next++;
        v->in_batch = v->batch_next < v->batch.seal.n;
        return v->in_batch;
}

static void hash_before(const struct bundle_batch *b, uint64_t i, uint8_t ret[static CHAIN_HASH_SIZE])
{
        memcpy(ret, b->seal.prev, CHAIN_HASH_SIZE);
        for (uint64_t k = 0; k < i; k++)
                chain_link(b->device, b->seal.first + k, ret, b->records[k].commitment, ret);
}

static void take_record(struct verify *v, const char *text, size_t size)
{
        struct verify_device *d = device_of(v, v->batch.device);
        const struct bundle_record *record = &v->batch.records[v->batch_next];
        uint64_t seq = v->batch.seal.first + v->batch_next;
        uint8_t commitment[CHAIN_HASH_SIZE], prev[CHAIN_HASH_SIZE];

        chain_commit(record->salt, text, size, commitment);
        if (memcmp(commitment, record->commitment, sizeof(commitment)) != 0) {
                verify_problem(v, d, seq,
                               "record %" PRIu64 " is not what the device sealed: its bytes or its salt were changed",
                               seq);
        } else {
                hash_before(&v->batch, v->batch_next, prev);
                d->present++;
                verify_record(v, d, seq, prev, text, size);
        }
        v->batch_next++;
        batch_skip_absent(v);
}

static void records_missing(struct verify *v)
{
        struct verify_device *d = device_of(v, v->batch.device);

        verify_problem(v, d, v->batch.seal.first + v->batch_next, "record %" PRIu64 " is missing",
                       v->batch.seal.first + v->batch_next);
        v->in_batch = false;
}

/* ---- audit ---- */

static void take_audit(struct verify *v, json_t *o)
{
        const char *what;

        if (bundle_audit_parse(o, &v->audit, &what) == 0) {
                v->in_audit = true;
                return;
        }
        verify_problem(v, NULL, 0, "the audit line's '%s' is missing or not valid", what);
        v->skipping = true;
}

static void take_audit_text(struct verify *v, const char *text, size_t size)
{
        _cleanup_buf_ struct buf entry = {0};
        uint8_t commitment[CHAIN_HASH_SIZE];
        size_t before = v->n_problems;

        v->in_audit = false;
        chain_commit(v->audit.salt, text, size, commitment);
        leaf_audit_format(&entry, v->audit.number, commitment);
        if (!verify_leaf(v, NULL, &v->audit.leaf, &entry))
                verify_problem(v, NULL, 0, "administrators' action %" PRIu64 " is in no log", v->audit.number);
        v->audits += v->n_problems == before;
}

/* ---- lines ---- */

static const char *const kind_names[] = {
        [BUNDLE_HEAD] = "head",
        [BUNDLE_CHECKPOINT] = "checkpoint",
        [BUNDLE_COSIGNED] = "cosigned line",
        [BUNDLE_DEVICE] = "device line",
        [BUNDLE_BATCH] = "batch line",
        [BUNDLE_AUDIT] = "audit line",
        [BUNDLE_SEEN] = "seen line",
        [BUNDLE_END] = "end",
};
_Static_assert(ELEMENTSOF(kind_names) == _BUNDLE_KIND_MAX, "enum bundle_kind");

static bool begins_as_line(const char *line, size_t size, enum bundle_kind *ret)
{
        for (enum bundle_kind k = 0; k < _BUNDLE_KIND_MAX; k++)
                if (size >= strlen(bundle_begins[k]) &&
                    memcmp(line, bundle_begins[k], strlen(bundle_begins[k])) == 0) {
                        *ret = k;
                        return true;
                }
        return false;
}

static void line_changed(struct verify *v, enum bundle_kind kind)
{
        const struct verify_device *d = v->n_devices ? &v->devices[v->n_devices - 1] : NULL;

        if (kind == BUNDLE_BATCH && d)
                verify_problem(v, d, d->next, "the batch line of record %" PRIu64 " and those behind it was changed",
                               d->next ? d->next : 1);
        else
                verify_problem(v, NULL, 0, "the %s was changed", kind_names[kind]);
        v->skipping = kind == BUNDLE_BATCH || kind == BUNDLE_AUDIT;
}

static void take_line(struct verify *v, struct bundle_line *l)
{
        if (!v->has_head && l->kind != BUNDLE_HEAD && v->line == 1)
                verify_problem(v, NULL, 0, "the bundle does not begin with its head");
        switch (l->kind) {
        case BUNDLE_HEAD:
                take_head(v, l->json);
                break;
        case BUNDLE_CHECKPOINT:
                verify_checkpoint(v, l->json);
                break;
        case BUNDLE_COSIGNED:
                verify_cosigned(v, l->json);
                break;
        case BUNDLE_DEVICE:
                take_device(v, l->json);
                break;
        case BUNDLE_BATCH:
                take_batch(v, l->json);
                if (v->in_batch)
                        batch_skip_absent(v);
                break;
        case BUNDLE_AUDIT:
                take_audit(v, l->json);
                break;
        case BUNDLE_SEEN:
                verify_seen(v, l->json);
                break;
        case BUNDLE_END:
                verify_signed_end(v, l->json);
                v->ended = true;
                break;
        case _BUNDLE_KIND_MAX:
                break;
        }
}

static void dispatch(struct verify *v, const char *line, size_t size)
{
        _cleanup_(bundle_line_done) struct bundle_line l = {0};
        enum bundle_kind kind = _BUNDLE_KIND_MAX;
        bool is_line = begins_as_line(line, size, &kind);

        if (v->ended) {
                verify_problem(v, NULL, 0, "there is more behind the end");
        } else if (v->in_batch && !is_line) {
                take_record(v, line, size);
        } else if (v->in_audit && !is_line) {
                take_audit_text(v, line, size);
        } else if (!is_line && v->skipping) {
                v->skipped++; /* of a batch line that was changed */
        } else if (!is_line) {
                verify_problem(v, NULL, 0, "this is neither a line of a bundle nor a record that belongs here");
                v->skipping = true;
        } else {
                if (v->in_batch)
                        records_missing(v);
                if (v->in_audit)
                        verify_problem(v, NULL, 0, "the text of administrators' action %" PRIu64 " is missing",
                                       v->audit.number);
                v->in_audit = v->skipping = false;
                if (bundle_line_parse(line, size, &l) < 0)
                        line_changed(v, kind);
                else
                        take_line(v, &l);
        }
}

void verify_line(struct verify *v, const char *line, size_t size)
{
        v->line++;
        dispatch(v, line, size);
        crypto_hash_sha256_update(&v->hash, (const uint8_t *)line, size);
        crypto_hash_sha256_update(&v->hash, (const uint8_t *)"\n", 1);
        v->byte += size + 1;
}

void verify_end(struct verify *v, bool whole)
{
        if (v->in_batch)
                records_missing(v);
        if (!v->ended || !whole)
                verify_problem(v, NULL, 0, "the bundle is cut short: its end is missing");
        if (!v->has_head && v->line > 0 && v->n_problems == 0)
                verify_problem(v, NULL, 0, "the bundle has no head");
        verify_echoes(v);
        verify_witnesses(v);
        for (size_t i = 0; i < v->n_devices; i++)
                verify_coverage_end(v, &v->devices[i]);
}
