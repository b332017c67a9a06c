/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The filter before the maps: never a no for what is listed, seldom a yes for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/watch/internal.h"

static bool has(const uint64_t *words, uint32_t n, uint32_t sum)
{
        return words[sum >> 6 & (n - 1)] >> (sum & 63) & 1;
}

static bool has_address(const uint64_t *words, uint32_t n, const char *text)
{
        struct prefix p;

        assert_int_equal(prefix_parse(text, &p), 0);
        const struct oc_prefix_key k = watch_prefix_key(&p);
        return has(words, n, oc_address_sum(&k));
}

static struct ruleset of_prefix(struct rule_entry entries[static 2], const char *text)
{
        entries[1] = (struct rule_entry){.kind = ENTRY_PREFIX, .channel = 1};
        assert_int_equal(prefix_parse(text, &entries[1].prefix), 0);
        return (struct ruleset){.entries = entries, .n_entries = 2};
}

static void test_prefixes(void **state)
{
        static const struct {
                const char *prefix;
                const char *in[4];
                const char *out; /* NULL: everything is in */
        } cases[] = {
                {"149.154.160.0/20", {"149.154.160.0", "149.154.175.255", "::ffff:149.154.160.1"}, "149.155.0.0"},
                {"149.154.167.99", {"149.154.167.99"}, "198.51.100.1"},
                {"10.0.0.0/8", {"10.0.0.0", "10.37.1.2", "10.255.255.255"}, "11.0.0.0"},
                {"128.0.0.0/1", {"128.0.0.0", "200.1.2.3", "255.255.255.255"}, NULL},
                {"0.0.0.0/0", {"0.0.0.0", "198.51.100.1"}, NULL},
                {"2001:db8::/32", {"2001:db8::", "2001:db8:ffff::1"}, "2001:db9::1"},
                {"2001:db8:1:2::/64", {"2001:db8:1:2::1"}, "2001:db9::1"},
                {"2a00::/20", {"2a00::", "2a00:800::1", "2a00:fff:ffff::"}, "2a00:1000::"},
                {"2000::/3", {"2000::", "3fff::1"}, NULL},
                {"::/0", {"::", "2001:db8::1", "198.51.100.1"}, NULL},
                {"::/64", {"::1", "::ffff:198.51.100.1", "198.51.100.1"}, NULL},
                {"::ffff:10.0.0.0/104", {"10.0.0.1", "::ffff:10.255.0.0"}, "11.0.0.0"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct rule_entry entries[2] = {};
                struct ruleset r = of_prefix(entries, cases[i].prefix);
                uint32_t n = watch_filter_words(&r);
                _cleanup_free_ uint64_t *words = calloc(n, sizeof(*words));

                assert_non_null(words);
                assert_int_equal(n & (n - 1), 0);
                watch_filter_fill(&r, words, n);
                for (const char *const *a = cases[i].in; a < cases[i].in + ELEMENTSOF(cases[i].in) && *a; a++)
                        if (!has_address(words, n, *a))
                                fail_msg("%s is not in %s", *a, cases[i].prefix);
                if (cases[i].out && has_address(words, n, cases[i].out))
                        fail_msg("%s is in %s", cases[i].out, cases[i].prefix);
        }
}

static uint32_t sum_of(const char *name)
{
        struct oc_name_key k;

        oc_key_init(&k);
        oc_key_name(&k, name, (uint32_t)strlen(name));
        return oc_key_sum(&k);
}

static void test_names(void **state)
{
        enum { N = 20000 };
        static struct rule_entry entries[N + 1];
        static char names[2 * N + 1][32];
        const struct ruleset r = {.entries = entries, .n_entries = N + 1};
        unsigned n_wrong = 0;

        for (unsigned i = 1; i <= 2 * N; i++)
                snprintf(names[i], sizeof(names[i]), "n%u.example.org", i);
        for (unsigned i = 1; i <= N; i++)
                entries[i] = (struct rule_entry){.kind = ENTRY_SUFFIX, .channel = 1, .value = names[i]};
        uint32_t n = watch_filter_words(&r);
        _cleanup_free_ uint64_t *words = calloc(n, sizeof(*words));
        assert_non_null(words);
        watch_filter_fill(&r, words, n);
        for (unsigned i = 1; i <= N; i++)
                assert_true(has(words, n, sum_of(names[i])));
        for (unsigned i = N + 1; i <= 2 * N; i++)
                n_wrong += has(words, n, sum_of(names[i]));
        assert_in_range(n_wrong, 1, N / 10);
}

/* As query_is_nobodys() goes through a query: true when it would say so. */
static bool is_nobodys(const uint64_t *words, uint32_t n, uint64_t tops, const char *name)
{
        uint8_t wire[8 + 256] = "\xff\xff\xff\xff\xff\xff\xff\xff"; /* whatever stands before */
        uint32_t last = 0, tail = 0, at = 8, size;
        uint64_t h = 0, word;

        for (const char *p = name; *p; p += size + (p[size] == '.')) {
                size = (uint32_t)strcspn(p, ".");
                tail = last;
                last = at;
                wire[at++] = (uint8_t)size;
                memcpy(wire + at, p, size);
                at += size;
        }
        memcpy(&word, wire + at - 8, 8);
        if (tail == 0 || tops >> oc_tail_top(word, at - last) & 1)
                return false;
        size = at - tail;
        for (uint32_t i = 0; i < OC_TAIL_WORDS; i++, at -= 8, size -= 8) {
                memcpy(&word, wire + at - 8, 8);
                h = oc_tail_add(h, word, size);
                if (size <= 8)
                        return !has(words, n, oc_tail_sum(h));
        }
        return false;
}

static void test_tails(void **state)
{
#define LABEL_24 "abcdefghijklmnopqrstuvwx"
        static const struct {
                const char *rule, *in[3], *out[3];
        } cases[] = {
                {"whatsapp.com",
                 {"whatsapp.com", "web.whatsapp.com", "a.B.wHaTsApP.CoM"},
                 {"xwhatsapp.com", "whatsapp.net", "example.com"}},
                {"t.me", {"t.me", "T.ME", "www.t.me"}, {"at.me", "t.m", "me.t"}},
                {"meet.google.com",
                 {"meet.google.com", "google.com", "a.meet.google.com"},
                 {"google.org", "oogle.com"}},
                {"a-name.of-16-b", {"a-name.of-16-b", "b.A-NAME.of-16-B"}, {"b-name.of-16-b", "x.name.of-16-b"}},
                {"chat", {"chat", "a.chat", "a.b.CHAT"}, {"chat.example", "a.chatter"}},
                {LABEL_24 LABEL_24 ".example.org", {"a.example.org"}, {"example.com"}},
                {LABEL_24 "." LABEL_24, {LABEL_24 "." LABEL_24, "A." LABEL_24 "." LABEL_24}, {"b." LABEL_24}},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct rule_entry entries[2] = {[1] = {.kind = ENTRY_SUFFIX, .channel = 1, .value = cases[i].rule}};
                const struct ruleset r = {.entries = entries, .n_entries = 2};
                uint32_t n = watch_filter_words(&r);
                _cleanup_free_ uint64_t *words = calloc(n, sizeof(*words));

                assert_non_null(words);
                watch_filter_fill(&r, words, n);
                for (size_t k = 0; k < ELEMENTSOF(cases[i].in); k++) {
                        if (cases[i].in[k] && is_nobodys(words, n, watch_tops(&r), cases[i].in[k]))
                                fail_msg("%s is not looked up for %s", cases[i].in[k], cases[i].rule);
                        if (cases[i].out[k] && !is_nobodys(words, n, watch_tops(&r), cases[i].out[k]))
                                fail_msg("%s is looked up for %s", cases[i].out[k], cases[i].rule);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_prefixes),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_tails),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
