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
        for (size_t i = strlen(name); i > 0; i--)
                oc_key_name_byte(&k, (__u8)name[i - 1]);
        return k;
}

static int compare_keys(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct oc_name_key));
}

/* Walking a long name from its end passes through the key of each of its suffixes. */
static void test_suffix(void **state)
{
        struct oc_name_key k, suffix = key_of("example.org");
        const char *name = "a.b.example.org";

        oc_key_init(&k);
        for (size_t i = strlen(name); i > strlen("a.b."); i--)
                oc_key_name_byte(&k, (__u8)name[i - 1]);
        assert_memory_equal(&k, &suffix, sizeof(k));
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
                cmocka_unit_test(test_suffix),
                cmocka_unit_test(test_case),
                cmocka_unit_test(test_kinds),
                cmocka_unit_test(test_no_collision),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
