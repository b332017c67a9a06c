/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A Merkle tree over log entries: RFC 6962 2.1 hashes, kept and fetched as C2SP tlog-tiles, and the two
 * proofs. Pure: tiles come from a function of the caller's. */
#include <stddef.h>
#include <stdint.h>

#define MERKLE_HASH_SIZE   32
#define MERKLE_TILE_HASHES 256
#define MERKLE_TILE_BYTES  (MERKLE_TILE_HASHES * MERKLE_HASH_SIZE)
#define MERKLE_PROOF_MAX   64 /* hashes */
#define MERKLE_SIZE_MAX    (1ull << 48) /* leaves; more than any collector will see */
#define MERKLE_LEVELS      7 /* tile levels below MERKLE_SIZE_MAX, and the one above a full tree */
#define MERKLE_ENTRY_MAX   65535 /* bytes: tlog-tiles, "Log entries" */

void merkle_leaf(const void *entry, size_t size, uint8_t ret[static MERKLE_HASH_SIZE]);
/* The result may be one of the operands. */
void merkle_node(const uint8_t left[static MERKLE_HASH_SIZE], const uint8_t right[static MERKLE_HASH_SIZE],
                 uint8_t ret[static MERKLE_HASH_SIZE]);

/* ---- tiles ---- */
#define MERKLE_ENTRIES  64 /* the level of an entry bundle */
#define MERKLE_PATH_MAX 64 /* any index of 64 bits */
struct merkle_tile {
        unsigned level; /* 0 to 63, or MERKLE_ENTRIES */
        uint64_t index;
        unsigned width; /* 1 to 256; 256: a full tile */
};
/* "tile/0/x001/x234/067.p/12". */
void merkle_tile_path(const struct merkle_tile *t, char ret[static MERKLE_PATH_MAX]);
/* -EINVAL. */
int merkle_tile_parse(const char *path, struct merkle_tile *ret);

/* ---- a tree that is read ---- */
/* Fills ret with width * MERKLE_HASH_SIZE bytes; negative to give up with that. */
typedef int (*merkle_tile_fn)(void *userdata, const struct merkle_tile *t, uint8_t *ret);
struct merkle_tree {
        merkle_tile_fn fn;
        void *userdata;
        uint64_t size; /* leaves; tiles are asked for as wide as they are in a tree of this size */
        /* the tile of each level that was read last */
        struct merkle_tile held[MERKLE_LEVELS]; /* width 0: none */
        uint8_t tiles[MERKLE_LEVELS][MERKLE_TILE_BYTES];
};
struct merkle_proof {
        unsigned n;
        uint8_t hashes[MERKLE_PROOF_MAX][MERKLE_HASH_SIZE]; /* from the leaf upwards */
};
/* Of the first `size` leaves. -ERANGE more than the tree has. */
int merkle_root(struct merkle_tree *t, uint64_t size, uint8_t ret[static MERKLE_HASH_SIZE]);
/* RFC 6962 2.1.1, 2.1.2. -ERANGE. */
int merkle_inclusion(struct merkle_tree *t, uint64_t index, uint64_t size, struct merkle_proof *ret);
int merkle_consistency(struct merkle_tree *t, uint64_t old, uint64_t size, struct merkle_proof *ret);

/* RFC 9162 2.1.3.2, 2.1.4.2. 0 or -EBADMSG. */
int merkle_inclusion_verify(const uint8_t leaf[static MERKLE_HASH_SIZE], uint64_t index, uint64_t size,
                            const struct merkle_proof *p, const uint8_t root[static MERKLE_HASH_SIZE]);
struct merkle_head {
        uint64_t size;
        uint8_t root[MERKLE_HASH_SIZE];
};
int merkle_consistency_verify(const struct merkle_head *old, const struct merkle_head *new,
                              const struct merkle_proof *p);

/* ---- a tree that grows ---- */
/* Its right-hand edge: the unfinished tile of every level. */
struct merkle_edge {
        uint64_t size;
        uint8_t tiles[MERKLE_LEVELS][MERKLE_TILE_BYTES];
};
/* A tile that has changed, `width` hashes of it. */
typedef int (*merkle_put_fn)(void *userdata, const struct merkle_tile *t, const uint8_t *hashes);
/* Adds a leaf; full tiles are handed to fn at once, unfinished ones by merkle_edge_flush(). */
int merkle_edge_add(struct merkle_edge *e, const uint8_t leaf[static MERKLE_HASH_SIZE], merkle_put_fn fn,
                    void *userdata);
int merkle_edge_flush(const struct merkle_edge *e, merkle_put_fn fn, void *userdata);
/* Takes the edge up again from the tiles of a tree of that size. */
int merkle_edge_load(struct merkle_edge *e, uint64_t size, merkle_tile_fn fn, void *userdata);
