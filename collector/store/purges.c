/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/store/purges.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/text.h"

void batches_add(struct batches *b, const uint8_t head[static CHAIN_HASH_SIZE])
{
        struct batches one = {.n = 1};

        memcpy(one.sum, head, sizeof(one.sum));
        batches_join(b, &one);
}

bool batches_equal(const struct batches *a, const struct batches *b)
{
        return a->n == b->n && memcmp(a->sum, b->sum, sizeof(a->sum)) == 0;
}

void batches_join(struct batches *b, const struct batches *more)
{
        b->n += more->n;
        for (size_t i = 0; i < sizeof(b->sum); i++)
                b->sum[i] ^= more->sum[i];
}

static const char gone_text[] = "; batches gone: ", held_text[] = "; batches held: ";

static void batches_format(struct buf *out, const char *what, const struct batches *b)
{
        char sum[2 * CHAIN_HASH_SIZE + 1];

        hex_encode(b->sum, sizeof(b->sum), sum);
        if (b->n > 0)
                buf_addf(out, "%s%" PRIu64 " %s", what, b->n, sum);
}

void purge_format(struct buf *out, const struct purge *p)
{
        buf_addf(out, "month %" PRId64 ": %" PRIu64 " records removed%s", p->month, p->n_gone,
                 p->whole ? "" : " one by one");
        if (p->n_held > 0)
                buf_addf(out, ", %" PRIu64 " stay under a hold", p->n_held);
        batches_format(out, gone_text, &p->gone);
        batches_format(out, held_text, &p->held);
}

static bool batches_parse(const char *detail, const char *what, struct batches *ret)
{
        const char *at = strstr(detail, what);
        char sum[2 * CHAIN_HASH_SIZE + 1];

        return !at || (sscanf(at + strlen(what), "%" SCNu64 " %64[0-9a-f]", &ret->n, sum) == 2 &&
                       strlen(sum) == sizeof(sum) - 1 && hex_decode(sum, ret->sum, sizeof(ret->sum)) == 0);
}

bool purge_parse(const char *detail, struct purge *ret)
{
        struct purge p = {0};

        if (sscanf(detail, "month %" SCNd64 ": %" SCNu64 " records removed", &p.month, &p.n_gone) != 2 ||
            !batches_parse(detail, gone_text, &p.gone) || !batches_parse(detail, held_text, &p.held))
                return false;
        p.whole = !strstr(detail, " removed one by one");
        *ret = p;
        return true;
}
