/* SPDX-License-Identifier: GPL-3.0-or-later */
/* POST /v1/reports: check everything, then let the store move the device's head. What needs no store for that is done
 * as soon as a batch is there: where another one is being committed, it would wait otherwise. */
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "collector/api/ingest.h"
#include "collector/api/private.h"

#define PREPARED_MAX (32u << 20) /* bytes that wait; beyond it a batch waits as it came */

struct report {
        struct api *api;
        struct buf text;
        struct batch batch;
        struct ingest rows;
        size_t size; /* counted in api->prepared */
        int r, rows_r; /* what came of reading the batch, its records */
        struct diag diag;
};

static void report_free(void *p)
{
        struct report *report = p;

        report->api->prepared -= report->size;
        ingest_done(&report->rows);
        batch_done(&report->batch);
        buf_done(&report->text);
        free(report);
}

/* An answer frees it. */
static void report_read(struct http_request *req)
{
        struct report *p = calloc(1, sizeof(*p));

        if (!p)
                return;
        p->api = api_of(req);
        p->r = ingest_decompress(req->body.data, req->body.size, &p->text, &p->diag);
        if (p->r == 0)
                p->r = batch_parse((const char *)p->text.data, p->text.size, NULL, &p->batch, &p->diag);
        if (p->r == 0)
                p->rows_r = ingest_batch(&p->batch, &p->rows, &p->diag);
        p->size = sizeof(*p) + p->text.allocated + p->rows.texts.size + p->rows.n * sizeof(*p->rows.rows);
        p->api->prepared += p->size;
        http_keep(req, p, report_free);
}

void reports_prepare(struct http_request *req)
{
        const struct api *a = api_of(req);

        if (a->turn.doing && a->prepared < PREPARED_MAX)
                report_read(req);
}

/* Everything up to this batch is kept, once this turn's commit is through. */
static void reply_taken(struct http_request *req, const struct batch *b)
{
        json_int_t next = (json_int_t)(b->seal.first + b->seal.n);

        http_keep(req, NULL, NULL);
        reply_after_commit(req, 200, json_pack("{s:I}", "next", next));
}

static void reply_conflict(struct http_request *req, const struct store_device *d, const char *why)
{
        char head[2 * CHAIN_HASH_SIZE + 1];

        hex_encode(d->head, sizeof(d->head), head);
        reply_json(req, 409, json_pack("{s:s,s:I,s:s}", "error", why, "next", (json_int_t)d->next_seq, "head", head));
}

static void reports_append(struct http_request *req, const struct store_device *device, const struct report *p)
{
        const struct batch *b = &p->batch;
        struct store_batch batch = {device->number, b->boot, clock_utc_ms(), &b->seal, p->rows.rows};
        struct counters *counters = &api_of(req)->counters;
        char text[160];
        int r = p->rows_r < 0 ? p->rows_r : store_append(api_of(req)->store, &batch);

        if (r == 0) {
                counters->batches[BATCH_KEPT]++;
                counters->records += b->seal.n;
                reply_taken(req, b);
        } else if (r == -EALREADY) {
                counters->batches[BATCH_KNOWN]++;
                /* Perhaps in this very turn: not before its commit either. What follows may be another machine's. */
                reply_taken(req, b);
        } else if (r == -ESTALE) {
                counters->batches[BATCH_GAP]++;
                if (b->seal.first > device->next_seq) {
                        snprintf(text, sizeof(text), "records %llu to %llu have not come, but later ones",
                                 (unsigned long long)device->next_seq, (unsigned long long)b->seal.first - 1);
                        finding_add(api_of(req), FINDING_CHAIN_GAP, device, device->next_seq, text);
                }
                reply_conflict(req, device, "the batch does not begin where the last one ended");
        } else if (r == -EILSEQ) {
                counters->batches[BATCH_FORK]++;
                snprintf(text, sizeof(text), "other records than those kept came under number %llu",
                         (unsigned long long)b->seal.first);
                finding_add(api_of(req), FINDING_CHAIN_FORK, device, b->seal.first, text);
                reply_conflict(req, device, "a fork: other records are kept under these numbers");
        } else {
                reply_errno(req, r, &p->diag);
        }
}

/* A branch that begins is an administrator's business as much as an enrolment is. */
static int branch_note(struct http_request *req, const struct store_branch *b, const struct store_device *branch)
{
        struct store *s = api_of(req)->store;
        char text[160];
        int r = store_follows(s, b->of, b->seal);

        snprintf(text, sizeof(text), "another history begins with record %llu: %s, brought by %s",
                 (unsigned long long)b->seal->first, branch->id, b->by->id);
        finding_add(api_of(req), FINDING_CHAIN_FORK, b->of, b->seal->first, text);
        if (r == 0) {
                snprintf(text, sizeof(text), "it begins with record %llu, and what that follows from is not here",
                         (unsigned long long)b->seal->first);
                finding_add(api_of(req), FINDING_CHAIN_GAP, branch, b->seal->first, text);
        }
        snprintf(text, sizeof(text), "%s from record %llu on", branch->id, (unsigned long long)b->seal->first);
        return r < 0 ? r : store_audit_add(s, &(struct store_audit){b->now_ms, b->by->id, "branch", text});
}

/* What the other of two machines with one key recorded, brought by it now that it has a key of its own. That it was
 * written with the key is what the seal proves; by whom it comes decides nothing but which branch it is. */
static void reports_brought(struct http_request *req, const struct store_device *by, const struct report *p)
{
        const struct batch *b = &p->batch;
        struct store *s = api_of(req)->store;
        struct store_device of, branch;
        struct store_branch which = {&of, by, &b->seal, clock_utc_ms()};
        int r = store_device_get(s, b->device, &of);

        if (r == 0 && chain_seal_verify(&b->seal, of.id, of.public_key) < 0) {
                reply_error(req, 400, "line 1: the signature is not the device's");
                return;
        }
        if (r == 0)
                r = store_has_batch(s, of.number, &b->seal);
        if (r > 0) {
                reply_taken(req, b);
                return;
        }
        if (r == 0)
                r = store_branch(s, &which, &branch);
        if (r > 0)
                r = branch_note(req, &which, &branch);
        if (r == -ENOENT || r == -EACCES)
                reply_error(req, 403, "the batch is another device's");
        else if (r == -EDQUOT)
                reply_error(req, 403, "there are too many histories of this device");
        else if (r < 0)
                reply_errno(req, r, NULL);
        else
                reports_append(req, &branch, p);
}

void agents_reports(struct http_request *req)
{
        const char *encoding = req->field[HTTP_CONTENT_ENCODING];
        const struct report *p;
        struct store_device device;

        if (!agents_device(req, &device))
                return;
        if (!request_content_is(req, "application/x-ndjson") || !encoding || strcasecmp(encoding, "zstd") != 0) {
                reply_error(req, 400, "Content-Type must be application/x-ndjson and Content-Encoding zstd");
                return;
        }
        if (!req->kept)
                report_read(req);
        p = req->kept;
        if (!p)
                http_respond_error(req, 503, "no memory");
        else if (p->r < 0)
                reply_errno(req, p->r, &p->diag);
        else if (strcmp(p->batch.device, device.id) != 0)
                reports_brought(req, &device, p);
        else if (chain_seal_verify(&p->batch.seal, device.id, device.public_key) < 0)
                reply_error(req, 400, "line 1: the signature is not this device's");
        else
                reports_append(req, &device, p);
}
