/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/ingest.h"
#include <errno.h>
#include <string.h>
#include <zstd.h>
#include "base/cleanup.h"
#include "record/record.h"

#define WINDOW_LOG_MAX 23 /* 8 MiB, as large as a batch: a frame cannot ask for more memory */
#define CHUNK_SIZE     (128u << 10)
#define TIME_MAX_MS    (1ull << 53) /* what JSON numbers carry everywhere */

static inline void dctx_freep(ZSTD_DCtx **c)
{
        ZSTD_freeDCtx(*c);
}

int ingest_decompress(const void *data, size_t size, struct buf *ret, struct diag *reterr)
{
        _cleanup_(dctx_freep) ZSTD_DCtx *c = ZSTD_createDCtx();
        _cleanup_buf_ struct buf text = {0};
        ZSTD_inBuffer in = {data, size, 0};
        size_t left = 1;

        if (!c || ZSTD_isError(ZSTD_DCtx_setParameter(c, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
                return -ENOMEM;
        while (in.pos < in.size || left > 0) {
                ZSTD_outBuffer out = {buf_extend(&text, CHUNK_SIZE), CHUNK_SIZE, 0};
                size_t before = in.pos;

                if (buf_error(&text) < 0)
                        return buf_error(&text);
                left = ZSTD_decompressStream(c, &out, &in);
                if (ZSTD_isError(left))
                        return diag_set(reterr, -EBADMSG, NULL, 0, "not zstd: %s", ZSTD_getErrorName(left));
                text.size -= CHUNK_SIZE - out.pos;
                if (text.size > BATCH_MAX_BYTES)
                        return diag_set(reterr, -E2BIG, NULL, 0, "more than %u bytes", BATCH_MAX_BYTES);
                if (left > 0 && in.pos == before && out.pos == 0)
                        return diag_set(reterr, -EBADMSG, NULL, 0, "the zstd frame is cut short");
        }
        *ret = text;
        text = (struct buf){0};
        return 0;
}

/* Looks along "a.b.c"; NULL when a part is missing. */
static json_t *at(json_t *root, const char *path)
{
        while (root && *path) {
                size_t n = strcspn(path, ".");
                char key[32];

                if (n >= sizeof(key))
                        return NULL;
                memcpy(key, path, n);
                key[n] = 0;
                root = json_object_get(root, key);
                path += n + (path[n] == '.');
        }
        return root;
}

/* Optional text at `path`; a wrong type sets *bad to the path. */
static const char *text_at(json_t *root, const char *path, const char **bad)
{
        json_t *v = at(root, path);

        if (v && !json_is_string(v) && !json_is_null(v))
                *bad = path;
        return json_string_value(v);
}

static const char *word_at(json_t *root, const char *path, const char **bad)
{
        const char *s = text_at(root, path, bad);

        if (s && strlen(s) > INGEST_WORD_MAX)
                *bad = path;
        return s;
}

static uint64_t number_at(json_t *root, const char *path, uint64_t missing, const char **bad)
{
        json_t *v = at(root, path);
        json_int_t n = json_integer_value(v);

        if (!v)
                return missing;
        if (!json_is_integer(v) || n < 0 || (uint64_t)n > TIME_MAX_MS)
                *bad = path;
        return (uint64_t)n;
}

/* Numbers that OCSF has as text: user.uid, policy.version. */
static int64_t digits_at(json_t *root, const char *path, int64_t missing, const char **bad)
{
        const char *s = word_at(root, path, bad);
        char *end;
        long long n;

        if (!s)
                return missing;
        errno = 0;
        n = strtoll(s, &end, 10);
        if (*s < '0' || *s > '9' || *end || errno) {
                *bad = path;
                return missing;
        }
        return n;
}

#define ONCHANNEL "unmapped.onchannel."

static const char *row_extract(json_t *root, struct store_row *row)
{
        const char *bad = NULL;
        /* Process Activity has the started program as `process`, the others as `actor.process` */
        const char *program = json_object_get(root, "process") ? "process.file.path" : "actor.process.file.path";

        row->time_ms = number_at(root, "time", 0, &bad);
        row->kind = word_at(root, ONCHANNEL "kind", &bad);
        row->channel = word_at(root, ONCHANNEL "channel", &bad);
        row->channel_name = text_at(root, ONCHANNEL "channel_name", &bad);
        row->class = word_at(root, ONCHANNEL "class", &bad);
        row->tier = word_at(root, ONCHANNEL "tier", &bad);
        row->layer = word_at(root, ONCHANNEL "layer", &bad);
        row->outcome = word_at(root, ONCHANNEL "outcome", &bad);
        row->verdict = word_at(root, ONCHANNEL "verdict", &bad);
        row->entry = text_at(root, ONCHANNEL "entry", &bad);
        row->user = text_at(root, "actor.user.name", &bad);
        row->uid = digits_at(root, "actor.user.uid", -1, &bad);
        row->program = text_at(root, program, &bad);
        row->remote = text_at(root, "dst_endpoint.ip", &bad);
        row->port = number_at(root, "dst_endpoint.port", 0, &bad);
        row->count = number_at(root, "count", 1, &bad);
        row->policy_serial = (uint64_t)digits_at(root, "policy.version", 0, &bad);
        if (!bad && !row->time_ms)
                bad = "time";
        if (!bad && !row->kind)
                bad = ONCHANNEL "kind";
        if (!bad && strcmp(row->kind, "violation") == 0 &&
            (!row->class || !row->tier || !row->layer || !row->outcome || !row->verdict))
                bad = ONCHANNEL "class, tier, layer, outcome or verdict";
        return bad;
}

int ingest_record(const char *text, size_t size, const char *device, uint64_t seq, json_t **ret_document,
                  struct store_row *ret, struct diag *reterr)
{
        json_auto_t *root = NULL;
        struct store_row row = {.seq = seq, .body = text, .body_size = size};
        char uid[DEVICE_ID_MAX + 24];
        const char *bad = NULL, *given;
        json_error_t e;

        root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
        if (!json_is_object(root))
                return diag_set(reterr, -EBADMSG, NULL, 0, "%s", root ? "not a JSON object" : e.text);
        snprintf(uid, sizeof(uid), "%.*s:%llu", (int)device_id_size(device), device, (unsigned long long)seq);
        given = text_at(root, "metadata.uid", &bad);
        if (!given || strcmp(given, uid) != 0)
                return diag_set(reterr, -EBADMSG, NULL, 0, "metadata.uid is not '%s'", uid);
        if (number_at(root, "metadata.sequence", 0, &bad) != seq)
                return diag_set(reterr, -EBADMSG, NULL, 0, "metadata.sequence is not %llu", (unsigned long long)seq);
        bad = row_extract(root, &row);
        if (bad)
                return diag_set(reterr, -EBADMSG, NULL, 0, "%s is missing or not valid", bad);
        *ret = row;
        *ret_document = TAKE_PTR(root);
        return 0;
}

void ingest_done(struct ingest *i)
{
        arena_done(&i->texts);
        free(i->rows);
        *i = (struct ingest){0};
}

/* Its texts are copied, so that one record's document can go before the next is read. */
static int row_keep(struct arena *a, struct store_row *row)
{
        const char **texts[] = {&row->kind,  &row->channel, &row->channel_name, &row->class,
                                &row->tier,  &row->layer,   &row->outcome,      &row->verdict,
                                &row->entry, &row->user,    &row->program,      &row->remote};

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (*texts[i] && !(*texts[i] = arena_copy(a, *texts[i])))
                        return -ENOMEM;
        return 0;
}

int ingest_batch(const struct batch *b, struct ingest *ret, struct diag *reterr)
{
        _cleanup_(ingest_done) struct ingest i = {.n = b->seal.n};
        _cleanup_(arena_done) struct arena documents = {0};

        i.rows = calloc(i.n, sizeof(*i.rows));
        if (!i.rows)
                return -ENOMEM;
        for (size_t k = 0; k < i.n; k++) {
                uint64_t seq = b->seal.first + k;
                json_t *document;
                int r;

                arena_enter(&documents);
                r = ingest_record(b->records[k], b->sizes[k], b->device, seq, &document, &i.rows[k], reterr);
                arena_leave();
                if (r == 0)
                        r = row_keep(&i.texts, &i.rows[k]);
                arena_clear(&documents);
                if (r < 0) {
                        if (reterr)
                                reterr->line = (unsigned)k + 2;
                        return r;
                }
                i.rows[k].salt = b->salts + k * CHAIN_SALT_SIZE;
                i.rows[k].hash = b->hashes + k * CHAIN_HASH_SIZE;
        }
        *ret = i;
        i = (struct ingest){0};
        return 0;
}
