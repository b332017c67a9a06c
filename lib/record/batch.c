/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The batch format: encode its header, parse a whole batch from a client that may be hostile. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/diag.h"
#include "base/text.h"
#include "record/chain.h"
#include "record/record.h"

#define BATCH_FORMAT     1
#define BATCH_HEADER_MAX (BATCH_RECORDS_MAX * CHAIN_SALT_SIZE * 2 + 1024)
#define BOOT_ID_SIZE     36

void batch_done(struct batch *b)
{
        freep(&b->salts);
        freep(&b->records);
        freep(&b->sizes);
        freep(&b->hashes);
        *b = (struct batch){0};
}

static void add_hex(struct buf *b, const char *key, const uint8_t *data, size_t size)
{
        char *p;

        buf_addf(b, ",\"%s\":\"", key);
        p = buf_extend(b, 2 * size + 1);
        if (p) {
                hex_encode(data, size, p);
                p[2 * size] = '"';
        }
}

int batch_header_encode(const struct batch *b, char **ret, size_t *ret_size)
{
        _cleanup_buf_ struct buf out = {0};
        int r;

        if (b->seal.n == 0 || b->seal.n > BATCH_RECORDS_MAX)
                return -E2BIG;

        buf_addf(&out, "{\"v\":%d,\"device\":\"%s\",\"boot\":\"%s\",\"first\":%llu,\"n\":%llu", BATCH_FORMAT,
                 b->device, b->boot, (unsigned long long)b->seal.first, (unsigned long long)b->seal.n);
        add_hex(&out, "prev", b->seal.prev, CHAIN_HASH_SIZE);
        add_hex(&out, "head", b->seal.head, CHAIN_HASH_SIZE);
        add_hex(&out, "sig", b->seal.signature, CHAIN_SIGNATURE_SIZE);
        add_hex(&out, "salts", b->salts, b->seal.n * CHAIN_SALT_SIZE);
        buf_add_string(&out, "}\n");

        r = buf_error(&out);
        if (r < 0)
                return r;
        *ret_size = out.size;
        *ret = buf_take(&out);
        return 0;
}

struct batch_fields {
        json_int_t version, first, n;
        const char *device, *boot, *prev, *head, *signature, *salts;
        size_t device_size, boot_size, prev_size, head_size, signature_size, salts_size;
};

static bool is_device_id(const char *s, size_t size)
{
        return size == DEVICE_ID_SIZE && text_starts_with(s, "d-") &&
               strspn(s + 2, "abcdefghijklmnopqrstuvwxyz234567") == size - 2;
}

static int header_check(const struct batch_fields *f, struct batch *b, struct diag *reterr)
{
        const char *what = NULL;

        if (f->version != BATCH_FORMAT)
                what = "v";
        else if (!is_device_id(f->device, f->device_size))
                what = "device";
        else if (f->boot_size != BOOT_ID_SIZE || strspn(f->boot, "0123456789abcdef-") != BOOT_ID_SIZE)
                what = "boot";
        else if (f->n < 1 || f->n > BATCH_RECORDS_MAX)
                what = "n";
        else if (f->first < 1 || f->first > INT64_MAX - f->n)
                what = "first";
        else if (f->prev_size != 2 * CHAIN_HASH_SIZE || hex_decode(f->prev, b->seal.prev, CHAIN_HASH_SIZE) < 0)
                what = "prev";
        else if (f->head_size != 2 * CHAIN_HASH_SIZE || hex_decode(f->head, b->seal.head, CHAIN_HASH_SIZE) < 0)
                what = "head";
        else if (f->signature_size != 2 * CHAIN_SIGNATURE_SIZE ||
                 hex_decode(f->signature, b->seal.signature, CHAIN_SIGNATURE_SIZE) < 0)
                what = "sig";
        else if (f->salts_size != (size_t)f->n * 2 * CHAIN_SALT_SIZE)
                what = "salts";
        if (what)
                return diag_set(reterr, -EBADMSG, "batch", 1, "'%s' is not valid", what);

        strcpy(b->device, f->device);
        memcpy(b->boot, f->boot, sizeof(b->boot));
        b->seal.first = (uint64_t)f->first;
        b->seal.n = (uint64_t)f->n;

        b->salts = malloc((size_t)f->n * CHAIN_SALT_SIZE);
        b->records = calloc((size_t)f->n, sizeof(*b->records));
        b->sizes = calloc((size_t)f->n, sizeof(*b->sizes));
        if (!b->salts || !b->records || !b->sizes)
                return -ENOMEM;
        if (hex_decode(f->salts, b->salts, (size_t)f->n * CHAIN_SALT_SIZE) < 0)
                return diag_set(reterr, -EBADMSG, "batch", 1, "'salts' is not valid");
        return 0;
}

static int header_parse(const char *text, size_t size, struct batch *b, struct diag *reterr)
{
        json_auto_t *root = NULL;
        struct batch_fields f = {0};
        json_error_t e;

        root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
        if (!root ||
            json_unpack_ex(root, &e, JSON_STRICT, "{s:I,s:s%,s:s%,s:I,s:I,s:s%,s:s%,s:s%,s:s%}", "v", &f.version,
                           "device", &f.device, &f.device_size, "boot", &f.boot, &f.boot_size, "first", &f.first, "n",
                           &f.n, "prev", &f.prev, &f.prev_size, "head", &f.head, &f.head_size, "sig", &f.signature,
                           &f.signature_size, "salts", &f.salts, &f.salts_size) < 0)
                return diag_set(reterr, -EBADMSG, "batch", 1, "header: %s", e.text);
        return header_check(&f, b, reterr);
}

/* Exactly seal.n lines, each ended by a newline, nothing behind them. */
static int records_parse(const char *text, size_t size, struct batch *b, struct diag *reterr)
{
        const char *p = text, *end = text + size;

        for (size_t i = 0; i < b->seal.n; i++) {
                const char *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;

                if (!newline || newline == p)
                        return diag_set(reterr, -EBADMSG, "batch", (unsigned)i + 2, "a record is missing");
                if (newline - p > RECORD_MAX_BYTES)
                        return diag_set(reterr, -E2BIG, "batch", (unsigned)i + 2, "record over %u bytes",
                                        RECORD_MAX_BYTES);
                b->records[i] = p;
                b->sizes[i] = (size_t)(newline - p);
                p = newline + 1;
        }
        if (p != end)
                return diag_set(reterr, -EBADMSG, "batch", (unsigned)b->seal.n + 2, "bytes behind the last record");
        return 0;
}

static int chain_check(struct batch *b, const uint8_t *public_key, struct diag *reterr)
{
        const uint8_t *prev = b->seal.prev;

        if (public_key) {
                uint8_t hash[CHAIN_HASH_SIZE];
                char id[DEVICE_ID_MAX];

                device_id_format(public_key, id);
                if (strcmp(id, b->device) != 0 || chain_seal_verify(&b->seal, id, public_key) < 0)
                        return diag_set(reterr, -EKEYREJECTED, "batch", 1, "the device's signature is wrong");
                chain_start(public_key, hash);
                if (b->seal.first == 1 && memcmp(hash, b->seal.prev, CHAIN_HASH_SIZE) != 0)
                        return diag_set(reterr, -EILSEQ, "batch", 1, "'prev' is not the start of the chain");
        }

        b->hashes = calloc(b->seal.n, CHAIN_HASH_SIZE);
        if (!b->hashes)
                return -ENOMEM;
        for (size_t i = 0; i < b->seal.n; i++) {
                uint8_t *h = b->hashes + i * CHAIN_HASH_SIZE;

                chain_next(b->device, b->seal.first + i, prev, b->salts + i * CHAIN_SALT_SIZE, b->records[i],
                           b->sizes[i], h);
                prev = h;
        }
        if (memcmp(prev, b->seal.head, CHAIN_HASH_SIZE) != 0)
                return diag_set(reterr, -EILSEQ, "batch", 1, "the records do not lead to 'head'");
        return 0;
}

int batch_parse(const char *text, size_t size, const uint8_t *public_key, struct batch *ret, struct diag *reterr)
{
        _cleanup_(batch_done) struct batch b = {0};
        const char *newline;
        int r;

        if (size > BATCH_MAX_BYTES)
                return diag_set(reterr, -E2BIG, "batch", 0, "over %u bytes", BATCH_MAX_BYTES);
        newline = size > 0 ? memchr(text, '\n', size < BATCH_HEADER_MAX ? size : BATCH_HEADER_MAX) : NULL;
        if (!newline)
                return diag_set(reterr, -EBADMSG, "batch", 1, "no header line");

        r = header_parse(text, (size_t)(newline - text), &b, reterr);
        if (r < 0)
                return r;
        r = records_parse(newline + 1, size - (size_t)(newline + 1 - text), &b, reterr);
        if (r < 0)
                return r;
        r = chain_check(&b, public_key, reterr);
        if (r < 0)
                return r;

        *ret = b;
        b = (struct batch){0};
        return 0;
}
