/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include "base/text.h"
#include "evidence/bundle.h"

#define LEAF_PREFIX "onchannel-leaf/v1"

static void add_hex(struct buf *b, const uint8_t *data, size_t size)
{
        char *p;

        buf_add_string(b, " ");
        p = buf_extend(b, 2 * size + 1);
        if (p) {
                hex_encode(data, size, p);
                b->size--; /* the NUL */
        }
}

void leaf_batch_format(struct buf *out, const struct bundle_batch *b)
{
        buf_addf(out, LEAF_PREFIX " batch %s %s %llu %llu", b->device, b->boot, (unsigned long long)b->seal.first,
                 (unsigned long long)b->seal.n);
        add_hex(out, b->seal.prev, CHAIN_HASH_SIZE);
        add_hex(out, b->seal.head, CHAIN_HASH_SIZE);
        add_hex(out, b->seal.signature, CHAIN_SIGNATURE_SIZE);
        buf_addf(out, " %llu", (unsigned long long)b->received_ms);
}

void leaf_audit_format(struct buf *out, uint64_t number, const uint8_t commitment[static CHAIN_HASH_SIZE])
{
        buf_addf(out, LEAF_PREFIX " audit %llu", (unsigned long long)number);
        add_hex(out, commitment, CHAIN_HASH_SIZE);
}

void audit_line_format(struct buf *out, uint64_t number, uint64_t time_ms, const char *who, const char *action,
                       const char *detail)
{
        json_auto_t *o = json_pack("{s:I,s:I,s:s,s:s,s:s?}", "number", (json_int_t)number, "time",
                                   (json_int_t)time_ms, "who", who, "action", action, "detail", detail);
        char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

        if (text)
                buf_add_string(out, text);
        else
                out->error = -ENOMEM;
        free(text);
}
