/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The end of a compressed bundle as onchannel-export writes it: a frame that decompressors skip (RFC 8878 3.1.2), with the
 * SHA-256 of all bytes before it. What is compressed has bits that say nothing of the text, and these are bytes of the bundle, too. */
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#define PACKED_SUM_BEGIN "\x50\x2a\x4d\x18\x20\x00\x00\x00" /* magic number, size 32, little-endian */
#define PACKED_BEGIN     (sizeof(PACKED_SUM_BEGIN) - 1)
#define PACKED_SUM       (PACKED_BEGIN + crypto_hash_sha256_BYTES)

/* Hashes all bytes but the last PACKED_SUM, which may be that frame. */
struct packed {
        crypto_hash_sha256_state hash;
        uint8_t tail[PACKED_SUM];
        size_t n_tail;
};
static inline void packed_init(struct packed *p)
{
        p->n_tail = 0;
        crypto_hash_sha256_init(&p->hash);
}

static inline void packed_add(struct packed *p, const uint8_t *data, size_t size)
{
        size_t keep = size < sizeof(p->tail) ? size : sizeof(p->tail), out = p->n_tail + keep;

        out = out > sizeof(p->tail) ? out - sizeof(p->tail) : 0;
        crypto_hash_sha256_update(&p->hash, p->tail, out);
        crypto_hash_sha256_update(&p->hash, data, size - keep);
        memmove(p->tail, p->tail + out, p->n_tail - out);
        p->n_tail -= out;
        memcpy(p->tail + p->n_tail, data + size - keep, keep);
        p->n_tail += keep;
}

/* True also where there is no such frame: another program compressed it. */
static inline bool packed_holds(struct packed *p)
{
        uint8_t sum[crypto_hash_sha256_BYTES];

        /* each of the 16 magic numbers of what is skipped: one bit is not to make it another frame */
        if (p->n_tail < sizeof(p->tail) || (p->tail[0] & 0xf0) != 0x50 ||
            memcmp(p->tail + 1, PACKED_SUM_BEGIN + 1, PACKED_BEGIN - 1) != 0)
                return true;
        crypto_hash_sha256_final(&p->hash, sum);
        return p->tail[0] == 0x50 && memcmp(p->tail + PACKED_BEGIN, sum, sizeof(sum)) == 0;
}
