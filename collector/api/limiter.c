/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/api/limiter.h"
#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(((struct limiter *)0)->key) == crypto_shorthash_KEYBYTES, "SipHash");

void limiter_init(struct limiter *l)
{
        memset(l, 0, sizeof(*l));
        randombytes_buf(l->key, sizeof(l->key));
}

static unsigned slot_of(const struct limiter *l, const char *who)
{
        uint8_t hash[crypto_shorthash_BYTES];

        crypto_shorthash(hash, (const uint8_t *)who, strlen(who), l->key);
        return (hash[0] | (unsigned)hash[1] << 8) % LIMITER_SLOTS;
}

unsigned limiter_wait(const struct limiter *l, const char *who, unsigned failures_max, uint64_t now_ms)
{
        unsigned i = slot_of(l, who);
        uint64_t end_ms = l->slots[i].since_ms + LIMITER_WINDOW_MS;

        if (l->slots[i].failures < failures_max || now_ms >= end_ms)
                return 0;
        return (unsigned)((end_ms - now_ms + 999) / 1000);
}

void limiter_failed(struct limiter *l, const char *who, uint64_t now_ms)
{
        unsigned i = slot_of(l, who);

        if (now_ms >= l->slots[i].since_ms + LIMITER_WINDOW_MS)
                l->slots[i].failures = 0;
        if (l->slots[i].failures++ == 0)
                l->slots[i].since_ms = now_ms;
}
