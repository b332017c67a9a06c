/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "record/merkle.h"

#define LEAVES 600 /* two tiles and more */

static uint8_t leaves[LEAVES][MERKLE_HASH_SIZE];

/* RFC 6962 2.1 word for word, to check against. */
static void naive_root(size_t begin, size_t end, uint8_t *ret)
{
        uint8_t left[MERKLE_HASH_SIZE], right[MERKLE_HASH_SIZE];
        size_t k = 1;

        if (end - begin == 1) {
                memcpy(ret, leaves[begin], MERKLE_HASH_SIZE);
                return;
        }
        while (2 * k < end - begin)
                k *= 2;
        naive_root(begin, begin + k, left);
        naive_root(begin + k, end, right);
        merkle_node(left, right, ret);
}

static int naive_tile(void *userdata, const struct merkle_tile *t, uint8_t *ret)
{
        size_t span = t->level == 0 ? 1 : MERKLE_TILE_HASHES, first = (size_t)t->index * MERKLE_TILE_HASHES;

        assert_true(t->level <= 1 && t->width >= 1 && t->width <= MERKLE_TILE_HASHES);
        for (size_t i = 0; i < t->width; i++) {
                assert_true((first + i + 1) * span <= LEAVES);
                naive_root((first + i) * span, (first + i + 1) * span, ret + i * MERKLE_HASH_SIZE);
        }
        ++*(unsigned *)userdata;
        return 0;
}

static struct merkle_tree *tree_new(uint64_t size, unsigned *reads)
{
        struct merkle_tree *t = calloc(1, sizeof(*t));

        assert_non_null(t);
        *t = (struct merkle_tree){.fn = naive_tile, .userdata = reads, .size = size};
        return t;
}

static int setup(void **state)
{
        for (size_t i = 0; i < LEAVES; i++)
                merkle_leaf(&i, sizeof(i), leaves[i]);
        return 0;
}

static void hex_is(const uint8_t *hash, const char *expected)
{
        char text[2 * MERKLE_HASH_SIZE + 1];

        hex_encode(hash, MERKLE_HASH_SIZE, text);
        assert_string_equal(text, expected);
}

/* The tree that Certificate Transparency's implementations check themselves with. */
static void test_vectors(void **state)
{
        static const struct {
                const char *leaf, *root;
        } known[] = {
                {"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
                {"00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
                {"10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
                {"2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
                {"3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
                {"40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
                {"5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
                {"606162636465666768696a6b6c6d6e6f",
                 "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
        };
        unsigned reads = 0;
        uint8_t root[MERKLE_HASH_SIZE];

        {
                _cleanup_free_ struct merkle_tree *t = tree_new(0, &reads);

                assert_int_equal(merkle_root(t, 0, root), 0);
                hex_is(root, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        }
        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                _cleanup_free_ struct merkle_tree *t = tree_new(i + 1, &reads);
                uint8_t bytes[32];

                assert_int_equal(hex_decode(known[i].leaf, bytes, strlen(known[i].leaf) / 2), 0);
                merkle_leaf(bytes, strlen(known[i].leaf) / 2, leaves[i]);
                assert_int_equal(merkle_root(t, i + 1, root), 0);
                hex_is(root, known[i].root);
        }
        setup(state);
}

static void test_inclusion(void **state)
{
        static const uint64_t sizes[] = {1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, LEAVES};

        for (size_t s = 0; s < ELEMENTSOF(sizes); s++) {
                uint64_t size = sizes[s];
                unsigned reads = 0;
                _cleanup_free_ struct merkle_tree *t = tree_new(size, &reads);
                struct merkle_proof p;
                uint8_t root[MERKLE_HASH_SIZE], naive[MERKLE_HASH_SIZE];

                naive_root(0, size, naive);
                assert_int_equal(merkle_root(t, size, root), 0);
                assert_memory_equal(root, naive, sizeof(root));
                for (uint64_t i = 0; i<size; i += size> 20 ? 13 : 1) {
                        assert_int_equal(merkle_inclusion(t, i, size, &p), 0);
                        assert_int_equal(merkle_inclusion_verify(leaves[i], i, size, &p, root), 0);
                        assert_int_equal(merkle_inclusion_verify(leaves[(i + 1) % LEAVES], i, size, &p, root),
                                         -EBADMSG);
                        assert_int_equal(merkle_inclusion_verify(leaves[i], i + 1, size, &p, root), -EBADMSG);
                        for (unsigned k = 0; k < p.n; k++) {
                                p.hashes[k][i % MERKLE_HASH_SIZE] ^= 1;
                                assert_int_equal(merkle_inclusion_verify(leaves[i], i, size, &p, root), -EBADMSG);
                                p.hashes[k][i % MERKLE_HASH_SIZE] ^= 1;
                        }
                        if (p.n > 0) {
                                p.n--;
                                assert_int_equal(merkle_inclusion_verify(leaves[i], i, size, &p, root), -EBADMSG);
                        }
                }
                assert_int_equal(merkle_inclusion(t, size, size, &p), -ERANGE);
                assert_int_equal(merkle_inclusion(t, 0, size + 1, &p), -ERANGE);
                assert_in_range(reads, 1, 200);
        }
}

static void test_consistency(void **state)
{
        unsigned reads = 0;

        for (uint64_t size = 1; size <= 40; size++) {
                _cleanup_free_ struct merkle_tree *t = tree_new(size, &reads);

                for (uint64_t old = 0; old <= size; old++) {
                        struct merkle_head a = {.size = old}, b = {.size = size};
                        struct merkle_proof p;

                        assert_int_equal(merkle_root(t, old, a.root), 0);
                        assert_int_equal(merkle_root(t, size, b.root), 0);
                        assert_int_equal(merkle_consistency(t, old, size, &p), 0);
                        assert_int_equal(merkle_consistency_verify(&a, &b, &p), 0);
                        if (old == 0)
                                continue;
                        a.root[3] ^= 1;
                        assert_int_equal(merkle_consistency_verify(&a, &b, &p), -EBADMSG);
                        a.root[3] ^= 1;
                        b.root[31] ^= 128;
                        assert_int_equal(merkle_consistency_verify(&a, &b, &p), -EBADMSG);
                        b.root[31] ^= 128;
                        for (unsigned k = 0; k < p.n; k++) {
                                p.hashes[k][0] ^= 1;
                                assert_int_equal(merkle_consistency_verify(&a, &b, &p), -EBADMSG);
                                p.hashes[k][0] ^= 1;
                        }
                }
        }
        {
                _cleanup_free_ struct merkle_tree *t = tree_new(LEAVES, &reads);
                struct merkle_head a = {.size = 257}, b = {.size = LEAVES};
                struct merkle_proof p;

                assert_int_equal(merkle_root(t, 257, a.root), 0);
                assert_int_equal(merkle_root(t, LEAVES, b.root), 0);
                assert_int_equal(merkle_consistency(t, 257, LEAVES, &p), 0);
                assert_int_equal(merkle_consistency_verify(&a, &b, &p), 0);
                assert_int_equal(merkle_consistency_verify(&b, &a, &p), -EBADMSG);
                assert_int_equal(merkle_consistency(t, 2, LEAVES + 1, &p), -ERANGE);
        }
}

/* ---- growing ---- */

struct disk {
        uint8_t tiles[2][3][MERKLE_TILE_BYTES];
        unsigned widths[2][3];
};

static int disk_put(void *userdata, const struct merkle_tile *t, const uint8_t *hashes)
{
        struct disk *d = userdata;

        assert_true(t->level < 2 && t->index < 3);
        memcpy(d->tiles[t->level][t->index], hashes, (size_t)t->width * MERKLE_HASH_SIZE);
        d->widths[t->level][t->index] = t->width;
        return 0;
}

static int disk_get(void *userdata, const struct merkle_tile *t, uint8_t *ret)
{
        struct disk *d = userdata;

        assert_true(t->level < 2 && t->index < 3 && d->widths[t->level][t->index] >= t->width);
        memcpy(ret, d->tiles[t->level][t->index], (size_t)t->width * MERKLE_HASH_SIZE);
        return 0;
}

/* Tiles written while it grows, with a restart at every size, are those of the finished tree. */
static void test_growing(void **state)
{
        _cleanup_free_ struct merkle_edge *e = calloc(1, sizeof(*e));
        _cleanup_free_ struct merkle_tree *t = calloc(1, sizeof(*t));
        _cleanup_free_ struct disk *d = calloc(1, sizeof(*d));

        assert_true(e && t && d);
        for (uint64_t size = 1; size <= LEAVES; size++) {
                uint8_t root[MERKLE_HASH_SIZE], naive[MERKLE_HASH_SIZE];

                memset(e, 0xaa, sizeof(*e));
                assert_int_equal(merkle_edge_load(e, size - 1, disk_get, d), 0);
                assert_int_equal(merkle_edge_add(e, leaves[size - 1], disk_put, d), 0);
                assert_int_equal(merkle_edge_flush(e, disk_put, d), 0);
                assert_int_equal(e->size, size);
                *t = (struct merkle_tree){.fn = disk_get, .userdata = d, .size = size};
                assert_int_equal(merkle_root(t, size, root), 0);
                naive_root(0, size, naive);
                assert_memory_equal(root, naive, sizeof(root));
        }
}

static void test_paths(void **state)
{
        static const struct {
                struct merkle_tile tile;
                const char *path;
        } good[] = {
                {{0, 0, 256}, "tile/0/000"},
                {{0, 1234067, 256}, "tile/0/x001/x234/067"}, /* the example of tlog-tiles */
                {{1, 999, 17}, "tile/1/999.p/17"},
                {{63, 1000, 1}, "tile/63/x001/000.p/1"},
                {{MERKLE_ENTRIES, 5, 255}, "tile/entries/005.p/255"},
                {{MERKLE_ENTRIES, 281474976710, 256}, "tile/entries/x281/x474/x976/710"},
        };
        static const char *const bad[] = {
                "",
                "tile",
                "tile/",
                "tile/0",
                "tile/0/",
                "tile/00/000",
                "tile/64/000",
                "tile/-1/000",
                "tile/0/00",
                "tile/0/0000",
                "tile/0/x000/001",
                "tile/0/x001",
                "tile/0/x001/",
                "tile/0/1/000",
                "tile/0/000.p/0",
                "tile/0/000.p/256",
                "tile/0/000.p/01",
                "tile/0/000.p/",
                "tile/0/000/",
                "tile/0/ 00",
                "tile/0/+00",
                "tile/entries/0",
                "/tile/0/000",
                "tile/0/000.p/1/",
                "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        };
        struct merkle_tile t;
        char path[MERKLE_PATH_MAX];

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                merkle_tile_path(&good[i].tile, path);
                assert_string_equal(path, good[i].path);
                assert_int_equal(merkle_tile_parse(path, &t), 0);
                assert_true(t.level == good[i].tile.level && t.index == good[i].tile.index &&
                            t.width == good[i].tile.width);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (merkle_tile_parse(bad[i], &t) != -EINVAL)
                        fail_msg("'%s' is taken for a tile", bad[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vectors), cmocka_unit_test(test_inclusion), cmocka_unit_test(test_consistency),
                cmocka_unit_test(test_growing), cmocka_unit_test(test_paths),
        };

        return cmocka_run_group_tests(tests, setup, NULL);
}
