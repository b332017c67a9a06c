/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "bpf/event.h"

static struct oc_name_key key_of(const char *name)
{
        struct oc_name_key k;

        oc_key_init(&k);
        oc_key_name(&k, name, (__u32)strlen(name));
        return k;
}

static int compare_keys(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct oc_name_key));
}

/* As name_step() of bpf/name.h walks: at the dot before `left` bytes are read. */
static struct oc_name_key key_at(const char *name, size_t left)
{
        char text[8 + 256] = "xx.com.."; /* what stands before is no part of it */
        struct oc_name_key k;
        size_t at = strlen(name) + 1, n;

        memcpy(text + 8, ".", 1);
        memcpy(text + 9, name, strlen(name));
        oc_key_init(&k);
        for (;;) {
                __u64 word;

                memcpy(&word, text + at, sizeof(word));
                n = oc_key_label(&k, word);
                at -= n;
                if (n == 8)
                        continue;
                assert_true(at > left);
                if (--at == left)
                        return k;
                oc_key_dot(&k);
        }
}

/* Walking a long name from its end passes through the key of each of its suffixes. */
static void test_suffix(void **state)
{
        static const char *const names[] = {"a.b.example.org", "12345678.1234567.123456789.x",
                                            "abcdefghijklmnopqrstuvwxyz.abcdefghijklmnop..org", "1234567.12345678"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                for (const char *dot = strchr(names[i], '.'); dot; dot = strchr(dot + 1, '.')) {
                        struct oc_name_key suffix = key_of(dot + 1),
                                           k = key_at(names[i], (size_t)(dot - names[i]) + 1);

                        assert_memory_equal(&k, &suffix, sizeof(k));
                }
}

/* Names that differ in a byte, a boundary or their length have other keys. */
static void test_distinct(void **state)
{
        static const char *const names[] = {"123456789",
                                            "9.12345678",
                                            "1.23456789",
                                            "12345678.9",
                                            "12345678",
                                            "1234567.8",
                                            "abc.defgh",
                                            "abcd.efgh",
                                            "a.bcdefgh",
                                            "abcdefgh",
                                            ".abcdefgh",
                                            "a..b",
                                            "a.b",
                                            "b.a",
                                            "\x01"
                                            "a.b",
                                            "a.\xff",
                                            "a./b",
                                            "a.b/",
                                            "abcdefgh/.x",
                                            "abcdefg/.x",
                                            "/.x",
                                            "x"};
        struct oc_name_key keys[ELEMENTSOF(names)];

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                keys[i] = key_of(names[i]);
        qsort(keys, ELEMENTSOF(keys), sizeof(keys[0]), compare_keys);
        for (size_t i = 1; i < ELEMENTSOF(keys); i++)
                assert_true(compare_keys(&keys[i - 1], &keys[i]) < 0);
        struct oc_name_key none, k;
        oc_key_init(&none);
        oc_key_init(&k);
        oc_key_name(&none, "web", 3);
        oc_key_name(&k, "\0web", 4);
        assert_memory_not_equal(&none, &k, sizeof(k));
}

static void test_case(void **state)
{
        struct oc_name_key upper = key_of("WeB.ExAmPlE-1.OrG"), lower = key_of("web.example-1.org");
        struct oc_name_key bracket = key_of("[@"), brace = key_of("{`");

        assert_memory_equal(&upper, &lower, sizeof(upper));
        assert_memory_not_equal(&bracket, &brace, sizeof(bracket)); /* letters only are folded */
}

static void test_kinds(void **state)
{
        static const enum oc_key_kind kinds[] = {OC_KEY_SUFFIX, OC_KEY_EXACT, OC_KEY_PROGRAM, OC_KEY_FLATPAK,
                                                 OC_KEY_SNAP};
        struct oc_name_key k = key_of("signal"), tagged[ELEMENTSOF(kinds)];

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                tagged[i] = oc_key_of_kind(&k, kinds[i]);
        qsort(tagged, ELEMENTSOF(tagged), sizeof(tagged[0]), compare_keys);
        for (size_t i = 1; i < ELEMENTSOF(tagged); i++)
                assert_true(compare_keys(&tagged[i - 1], &tagged[i]) < 0);
}

/* Near names, all of one length, in every lane. */
static void test_no_collision(void **state)
{
        enum { N = 200000 };
        _cleanup_free_ struct oc_name_key *keys = calloc(N, sizeof(*keys));
        _cleanup_free_ __u64 *b = calloc(N, sizeof(*b));

        assert_non_null(keys);
        assert_non_null(b);
        for (unsigned i = 0; i < N; i++) {
                char name[32];
                snprintf(name, sizeof(name), "n%06u.example.org", i);
                keys[i] = key_of(name);
                /* memcmp() sorts by lane a first: lane b alone is looked at in the second round */
                b[i] = keys[i].b;
        }
        for (int lane = 0; lane < 2; lane++) {
                for (unsigned i = 0; i < N; i++)
                        keys[i] = (struct oc_name_key){lane ? b[i] : keys[i].a, 0};
                qsort(keys, N, sizeof(*keys), compare_keys);
                for (unsigned i = 1; i < N; i++)
                        assert_true(compare_keys(&keys[i - 1], &keys[i]) < 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_suffix), cmocka_unit_test(test_distinct),     cmocka_unit_test(test_case),
                cmocka_unit_test(test_kinds),  cmocka_unit_test(test_no_collision),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
