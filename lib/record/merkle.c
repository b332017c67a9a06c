/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "record/merkle.h"
#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

_Static_assert(MERKLE_HASH_SIZE == crypto_hash_sha256_BYTES, "SHA-256");

void merkle_leaf(const void *entry, size_t size, uint8_t ret[static MERKLE_HASH_SIZE])
{
        static const uint8_t domain = 0; /* RFC 6962 2.1 */
        crypto_hash_sha256_state state;

        crypto_hash_sha256_init(&state);
        crypto_hash_sha256_update(&state, &domain, 1);
        crypto_hash_sha256_update(&state, entry, size);
        crypto_hash_sha256_final(&state, ret);
}

void merkle_node(const uint8_t left[static MERKLE_HASH_SIZE], const uint8_t right[static MERKLE_HASH_SIZE],
                 uint8_t ret[static MERKLE_HASH_SIZE])
{
        static const uint8_t domain = 1; /* RFC 6962 2.1 */
        crypto_hash_sha256_state state;

        crypto_hash_sha256_init(&state);
        crypto_hash_sha256_update(&state, &domain, 1);
        crypto_hash_sha256_update(&state, left, MERKLE_HASH_SIZE);
        crypto_hash_sha256_update(&state, right, MERKLE_HASH_SIZE);
        crypto_hash_sha256_final(&state, ret);
}

/* The subtree over 2^height hashes that stand in a row. */
static void fold(const uint8_t *hashes, unsigned height, uint8_t ret[static MERKLE_HASH_SIZE])
{
        uint8_t level[MERKLE_TILE_BYTES];

        memcpy(level, hashes, (size_t)MERKLE_HASH_SIZE << height);
        for (unsigned n = 1u << height; n > 1; n /= 2)
                for (unsigned i = 0; i < n / 2; i++)
                        merkle_node(level + (size_t)2 * i * MERKLE_HASH_SIZE,
                                    level + (size_t)(2 * i + 1) * MERKLE_HASH_SIZE,
                                    level + (size_t)i * MERKLE_HASH_SIZE);
        memcpy(ret, level, MERKLE_HASH_SIZE);
}

static unsigned width_at(uint64_t size, unsigned level, uint64_t index)
{
        uint64_t hashes = size >> (8 * level), before = index * MERKLE_TILE_HASHES;

        return hashes <= before                        ? 0
               : hashes - before >= MERKLE_TILE_HASHES ? MERKLE_TILE_HASHES
                                                       : (unsigned)(hashes - before);
}

/* The hash of the complete subtree number `index` of 2^height leaves. */
static int subtree(struct merkle_tree *t, unsigned height, uint64_t index, uint8_t ret[static MERKLE_HASH_SIZE])
{
        struct merkle_tile tile = {.level = height / 8, .index = (index << height % 8) / MERKLE_TILE_HASHES};
        size_t place = (size_t)(index << height % 8) % MERKLE_TILE_HASHES;
        struct merkle_tile *held;
        uint8_t *bytes;
        int r;

        if (tile.level >= MERKLE_LEVELS)
                return -ERANGE;
        held = &t->held[tile.level];
        bytes = t->tiles[tile.level];
        if (held->width == 0 || held->index != tile.index) {
                tile.width = width_at(t->size, tile.level, tile.index);
                held->width = 0;
                if (place + (1u << height % 8) > tile.width)
                        return -ERANGE;
                r = t->fn(t->userdata, &tile, bytes);
                if (r < 0)
                        return r;
                *held = tile;
        }
        if (place + (1u << height % 8) > held->width)
                return -ERANGE;
        fold(bytes + place * MERKLE_HASH_SIZE, height % 8, ret);
        return 0;
}

/* RFC 6962 2.1: the largest power of two below n, as an exponent. n > 1. */
static unsigned split_of(uint64_t n)
{
        return 63 - (unsigned)__builtin_clzll(n - 1);
}

/* MTH(D[begin:end]), where begin is a multiple of the power of two at or above end - begin. From right to left:
 * each step takes the last complete subtree. */
static int range(struct merkle_tree *t, uint64_t begin, uint64_t end, uint8_t ret[static MERKLE_HASH_SIZE])
{
        bool first = true;

        while (end > begin) {
                unsigned height = (unsigned)__builtin_ctzll(end);
                uint8_t left[MERKLE_HASH_SIZE];
                int r;

                if (end - begin < 1ull << height)
                        height = 63 - (unsigned)__builtin_clzll(end - begin);
                r = subtree(t, height, (end >> height) - 1, left);
                if (r < 0)
                        return r;
                if (first)
                        memcpy(ret, left, MERKLE_HASH_SIZE);
                else
                        merkle_node(left, ret, ret);
                first = false;
                end -= 1ull << height;
        }
        return 0;
}

int merkle_root(struct merkle_tree *t, uint64_t size, uint8_t ret[static MERKLE_HASH_SIZE])
{
        if (size > t->size || t->size > MERKLE_SIZE_MAX)
                return -ERANGE;
        if (size == 0) {
                crypto_hash_sha256(ret, NULL, 0); /* RFC 6962 2.1: the hash of an empty list */
                return 0;
        }
        return range(t, 0, size, ret);
}

static int proof_add(struct merkle_tree *t, struct merkle_proof *p, uint64_t begin, uint64_t end)
{
        return p->n == MERKLE_PROOF_MAX ? -ERANGE : range(t, begin, end, p->hashes[p->n++]);
}

static void proof_reverse(struct merkle_proof *p)
{
        for (unsigned i = 0, k = p->n; i + 1 < k--; i++) {
                uint8_t swap[MERKLE_HASH_SIZE];

                memcpy(swap, p->hashes[i], sizeof(swap));
                memcpy(p->hashes[i], p->hashes[k], sizeof(swap));
                memcpy(p->hashes[k], swap, sizeof(swap));
        }
}

/* Both proofs walk down from the root and note at each fork the branch that they leave aside. */
int merkle_inclusion(struct merkle_tree *t, uint64_t index, uint64_t size, struct merkle_proof *ret)
{
        uint64_t begin = 0, end = size;

        if (index >= size || size > t->size || t->size > MERKLE_SIZE_MAX)
                return -ERANGE;
        ret->n = 0;
        while (end - begin > 1) {
                uint64_t middle = begin + (1ull << split_of(end - begin));
                int r = index < middle ? proof_add(t, ret, middle, end) : proof_add(t, ret, begin, middle);

                if (r < 0)
                        return r;
                if (index < middle)
                        end = middle;
                else
                        begin = middle;
        }
        proof_reverse(ret);
        return 0;
}

int merkle_consistency(struct merkle_tree *t, uint64_t old, uint64_t size, struct merkle_proof *ret)
{
        uint64_t begin = 0, end = size;
        int r = 0;

        if (old > size || size > t->size || t->size > MERKLE_SIZE_MAX)
                return -ERANGE;
        ret->n = 0;
        if (old == 0)
                return 0;
        while (old < end && r == 0) {
                uint64_t middle = begin + (1ull << split_of(end - begin));

                r = old <= middle ? proof_add(t, ret, middle, end) : proof_add(t, ret, begin, middle);
                if (old <= middle)
                        end = middle;
                else
                        begin = middle;
        }
        if (r == 0 && begin > 0)
                r = proof_add(t, ret, begin, end);
        proof_reverse(ret);
        return r;
}

/* ---- verification ---- */

int merkle_inclusion_verify(const uint8_t leaf[static MERKLE_HASH_SIZE], uint64_t index, uint64_t size,
                            const struct merkle_proof *p, const uint8_t root[static MERKLE_HASH_SIZE])
{
        uint64_t fn = index, sn = size - 1; /* RFC 9162 2.1.3.2 */
        uint8_t r[MERKLE_HASH_SIZE];

        if (index >= size || p->n > MERKLE_PROOF_MAX)
                return -EBADMSG;
        memcpy(r, leaf, sizeof(r));
        for (unsigned i = 0; i < p->n; i++) {
                if (sn == 0)
                        return -EBADMSG;
                if (fn & 1 || fn == sn) {
                        merkle_node(p->hashes[i], r, r);
                        while (!(fn & 1) && fn) {
                                fn >>= 1;
                                sn >>= 1;
                        }
                } else {
                        merkle_node(r, p->hashes[i], r);
                }
                fn >>= 1;
                sn >>= 1;
        }
        return sn == 0 && memcmp(r, root, sizeof(r)) == 0 ? 0 : -EBADMSG;
}

int merkle_consistency_verify(const struct merkle_head *old, const struct merkle_head *new,
                              const struct merkle_proof *p)
{
        uint64_t fn = old->size - 1, sn = new->size - 1; /* RFC 9162 2.1.4.2 */
        uint8_t fr[MERKLE_HASH_SIZE], sr[MERKLE_HASH_SIZE];
        unsigned i = 0;

        if (old->size > new->size || p->n > MERKLE_PROOF_MAX)
                return -EBADMSG;
        if (old->size == new->size)
                return p->n == 0 && memcmp(old->root, new->root, sizeof(fr)) == 0 ? 0 : -EBADMSG;
        if (old->size == 0)
                return p->n == 0 ? 0 : -EBADMSG;
        if ((old->size & (old->size - 1)) == 0)
                memcpy(fr, old->root, sizeof(fr));
        else if (p->n > 0)
                memcpy(fr, p->hashes[i++], sizeof(fr));
        else
                return -EBADMSG;
        memcpy(sr, fr, sizeof(sr));
        while (fn & 1) {
                fn >>= 1;
                sn >>= 1;
        }
        for (; i < p->n; i++) {
                if (sn == 0)
                        return -EBADMSG;
                if (fn & 1 || fn == sn) {
                        merkle_node(p->hashes[i], fr, fr);
                        merkle_node(p->hashes[i], sr, sr);
                        while (!(fn & 1) && fn) {
                                fn >>= 1;
                                sn >>= 1;
                        }
                } else {
                        merkle_node(sr, p->hashes[i], sr);
                }
                fn >>= 1;
                sn >>= 1;
        }
        return sn == 0 && memcmp(fr, old->root, sizeof(fr)) == 0 && memcmp(sr, new->root, sizeof(sr)) == 0 ? 0
                                                                                                           : -EBADMSG;
}

/* ---- growing ---- */

int merkle_edge_add(struct merkle_edge *e, const uint8_t leaf[static MERKLE_HASH_SIZE], merkle_put_fn fn,
                    void *userdata)
{
        uint8_t hash[MERKLE_HASH_SIZE];
        uint64_t place = e->size;

        if (e->size >= MERKLE_SIZE_MAX)
                return -ERANGE;
        memcpy(hash, leaf, sizeof(hash));
        for (unsigned level = 0; level < MERKLE_LEVELS; level++) {
                struct merkle_tile t = {level, place / MERKLE_TILE_HASHES, MERKLE_TILE_HASHES};
                int r;

                memcpy(e->tiles[level] + place % MERKLE_TILE_HASHES * MERKLE_HASH_SIZE, hash, sizeof(hash));
                if ((place + 1) % MERKLE_TILE_HASHES)
                        break;
                r = fn(userdata, &t, e->tiles[level]);
                if (r < 0)
                        return r;
                fold(e->tiles[level], 8, hash);
                place /= MERKLE_TILE_HASHES;
        }
        e->size++;
        return 0;
}

int merkle_edge_flush(const struct merkle_edge *e, merkle_put_fn fn, void *userdata)
{
        int r = 0;

        for (unsigned level = 0; level < MERKLE_LEVELS && r == 0; level++) {
                uint64_t hashes = e->size >> (8 * level);
                struct merkle_tile t = {level, hashes / MERKLE_TILE_HASHES, (unsigned)(hashes % MERKLE_TILE_HASHES)};

                if (t.width > 0)
                        r = fn(userdata, &t, e->tiles[level]);
        }
        return r;
}

int merkle_edge_load(struct merkle_edge *e, uint64_t size, merkle_tile_fn fn, void *userdata)
{
        int r = 0;

        if (size > MERKLE_SIZE_MAX)
                return -ERANGE;
        for (unsigned level = 0; level < MERKLE_LEVELS && r == 0; level++) {
                uint64_t hashes = size >> (8 * level);
                struct merkle_tile t = {level, hashes / MERKLE_TILE_HASHES, (unsigned)(hashes % MERKLE_TILE_HASHES)};

                if (t.width > 0)
                        r = fn(userdata, &t, e->tiles[level]);
        }
        if (r == 0)
                e->size = size;
        return r;
}
