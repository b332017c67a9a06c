/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "policy/policy.h"
#include "trust/ring.h"

#define COMMENT "onchannel policy serial=1 expires=2027-01-01T00:00:00Z"
#define KEYS    4

struct pair {
        struct trust_secret secret;
        struct trust_key key;
        char id[TRUST_KEY_ID_TEXT];
        char base64[TRUST_KEY_BASE64_SIZE + 1];
};
static struct pair pairs[KEYS];

static int make_pairs(void **state)
{
        for (size_t i = 0; i < KEYS; i++) {
                _cleanup_free_ char *secret = NULL, *public = NULL;

                if (trust_key_new(NULL, TRUST_COST_OFFLINE, &secret, &public) < 0 ||
                    trust_secret_parse(secret, strlen(secret), "s", NULL, &pairs[i].secret, NULL) < 0 ||
                    trust_key_parse(public, strlen(public), "p", &pairs[i].key, NULL) < 0)
                        return -1;
                trust_key_id_format(pairs[i].key.id, pairs[i].id);
                memcpy(pairs[i].base64, strchr(public, '\n') + 1, TRUST_KEY_BASE64_SIZE);
        }
        return 0;
}

/* `who` are digits: "01" is signed by pairs 0 and 1; "!" spoils what stands before it. */
static char *signatures(const char *who, const char *const comments[])
{
        char *all = strdup("");

        for (size_t i = 0; who[i]; i++) {
                _cleanup_free_ char *one = NULL, *before = NULL;

                if (who[i] == '!')
                        continue;
                before = all;
                assert_int_equal(trust_sign(&pairs[who[i] - '0'].secret, who[i + 1] == '!' ? "datA" : "data", 4,
                                            comments ? comments[i] : COMMENT, &one),
                                 0);
                all = format_new("%s%s", before, one);
        }
        return all;
}

static int verify(const struct trust_ring *ring, const char *who, const char *const comments[], time_t now,
                  struct trust_verdict *ret, struct diag *d)
{
        _cleanup_free_ char *text = signatures(who, comments);
        const struct trust_file f = {"f", "data", 4, text, strlen(text)};

        return trust_ring_verify(ring, TRUST_ROLE_POLICY, &f, now, ret, d);
}

static void test_who_may_sign(void **state)
{
        static const struct {
                const char *who;
                unsigned needs; /* of keys 0 and 1; 2 is a catalogue key, 3 a stranger's */
                int r;
                unsigned n;
                const char *reason;
        } table[] = {
                {"0", 1, 0, 1, ""},
                {"1", 1, 0, 1, ""},
                {"01", 1, 0, 2, ""},
                {"30", 1, 0, 1, ""},
                {"2", 1, -ENOKEY, 0, "is no policy key but a catalogue key"},
                {"3", 1, -ENOKEY, 0, "is not trusted here"},
                {"", 1, -EBADMSG, 0, "ends too early"},
                {"0!", 1, -EKEYREJECTED, 0, "is wrong"},
                {"01!", 1, -EKEYREJECTED, 0, "is wrong"},
                {"03!", 1, 0, 1, ""},
                {"0", 2, -EUSERS, 0, "1 of the 2 signatures"},
                {"00", 2, -EUSERS, 0, "1 of the 2 signatures"},
                {"02", 2, -EUSERS, 0, "1 of the 2 signatures"},
                {"03", 2, -EUSERS, 0, "1 of the 2 signatures"},
                {"01", 2, 0, 2, ""},
                {"2310", 2, 0, 2, ""},
                {"01230", 2, -EBADMSG, 0, "more than 4 signatures"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct trust_ring ring = {0};
                struct trust_verdict v = {0};
                struct diag d = {0};
                int r;

                trust_ring_add(&ring, TRUST_ROLE_POLICY, &pairs[0].key);
                trust_ring_add(&ring, TRUST_ROLE_POLICY, &pairs[1].key);
                trust_ring_add(&ring, TRUST_ROLE_CATALOGUE, &pairs[2].key);
                ring.signatures[TRUST_ROLE_POLICY] = table[i].needs;
                r = verify(&ring, table[i].who, NULL, 0, &v, &d);
                if (r != table[i].r || v.n_signers != table[i].n || !strstr(d.text, table[i].reason))
                        fail_msg("entry %zu: %d, %u signers, '%s'", i, r, v.n_signers, d.text);
                if (r == 0)
                        assert_string_equal(v.comment, COMMENT);
        }
}

static void test_no_key(void **state)
{
        struct trust_ring ring = {0};
        struct trust_verdict v;
        struct diag d = {0};

        assert_int_equal(verify(&ring, "0", NULL, 0, &v, &d), -ENOKEY);
        assert_non_null(strstr(d.text, "no key 'policy.pub' is installed"));
}

static void test_revoked(void **state)
{
        struct trust_ring ring = {0};
        struct trust_verdict v;
        struct diag d = {0};

        trust_ring_add(&ring, TRUST_ROLE_POLICY, &pairs[0].key);
        trust_ring_add(&ring, TRUST_ROLE_POLICY, &pairs[1].key);
        assert_int_equal(trust_ring_revoke(&ring, pairs[0].key.id, 1000), 0);
        assert_int_equal(verify(&ring, "0", NULL, 999, &v, &d), 0);
        assert_int_equal(verify(&ring, "0", NULL, 1000, &v, &d), -ENOKEY);
        assert_non_null(strstr(d.text, "which is revoked"));
        assert_int_equal(trust_ring_revoke(&ring, pairs[0].key.id, 2000), 0); /* a later one gives nothing back */
        assert_int_equal(verify(&ring, "0", NULL, 1500, &v, &d), -ENOKEY);
        assert_int_equal(verify(&ring, "01", NULL, 1500, &v, &d), 0);
        assert_string_equal(v.signer, pairs[1].id);
        ring.signatures[TRUST_ROLE_POLICY] = 2;
        assert_int_equal(verify(&ring, "01", NULL, 1500, &v, &d), -EUSERS);
        assert_true(trust_ring_can_sign(&ring, TRUST_ROLE_POLICY, 0));
        assert_false(trust_ring_can_sign(&ring, TRUST_ROLE_POLICY, 1500));
}

static void test_signed_at(void **state)
{
        static const char *const same[] = {COMMENT " signed=2026-11-21T10:00:00Z",
                                           COMMENT " signed=2026-11-21T11:00:00Z"};
        static const char *const other[] = {COMMENT, "onchannel policy serial=2 expires=2027-01-01T00:00:00Z"};
        static const char *const odd[] = {COMMENT " signed=yesterday"};
        struct trust_ring ring = {0};
        struct trust_verdict v;
        struct diag d = {0};

        trust_ring_add(&ring, TRUST_ROLE_POLICY, &pairs[0].key);
        trust_ring_add(&ring, TRUST_ROLE_POLICY, &pairs[1].key);
        assert_int_equal(verify(&ring, "01", same, 0, &v, &d), 0);
        assert_string_equal(v.comment, COMMENT);
        assert_int_equal(v.signed_at, 1795258800);
        assert_int_equal(verify(&ring, "01", other, 0, &v, &d), -EINVAL);
        assert_non_null(strstr(d.text, "different things"));
        assert_int_equal(verify(&ring, "0", odd, 0, &v, &d), 0);
        assert_string_equal(v.comment, odd[0]);
        assert_int_equal(v.signed_at, 0);
        assert_int_equal(verify(&ring, "0", NULL, 0, &v, &d), 0);
        assert_int_equal(v.signed_at, 0);
}

/* The last one counts, also where nothing or the same stands before it. */
static void test_comment_cut(void **state)
{
        char only[] = " signed=2026-11-21T11:00:00Z", twice[] = " signed= signed=2026-11-21T11:00:00Z",
             none[] = " signed=x";

        assert_int_equal(trust_comment_cut(only), 1795258800);
        assert_string_equal(only, "");
        assert_int_equal(trust_comment_cut(twice), 1795258800);
        assert_string_equal(twice, " signed=");
        assert_int_equal(trust_comment_cut(none), 0);
        assert_string_equal(none, " signed=x");
}

static void test_time(void **state)
{
        assert_int_equal(trust_time(2000, 0, 1000), 2000); /* the clock says 1990 */
        assert_int_equal(trust_time(2000, 3000, 1000), 3000);
        assert_int_equal(trust_time(2000, 3000, 4000), 4000);
}

static void test_order(void **state)
{
        static const struct {
                struct trust_order o;
                int r;
                const char *reason;
        } table[] = {
                {{.serial = 1, .hash = "a"}, 0, ""},
                {{.serial = 5, .hash = "b", .floor = 5, .held_serial = 4, .held_hash = "a"}, 0, ""},
                {{.serial = 4, .hash = "a", .floor = 5}, -ESTALE, "older than 5"},
                {{.serial = 5, .hash = "a", .floor = 5, .held_serial = 5, .held_hash = "a"}, -EALREADY, "already"},
                {{.serial = 5, .hash = "b", .floor = 5, .held_serial = 5, .held_hash = "a"},
                 -ESTALE,
                 "other contents"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct diag d = {0};

                assert_int_equal(trust_order_check(&table[i].o, "f", &d), table[i].r);
                assert_non_null(strstr(d.text, table[i].reason));
        }
}

static struct policy *policy_with(const char *trust)
{
        _cleanup_free_ char *text = format_new("[policy]\nformat = 1\norganisation = o\nserial = 1\n"
                                               "not_before = 2026-01-01T00:00:00Z\nexpires = 2027-01-01T00:00:00Z\n"
                                               "[trust]\n%s",
                                               trust);
        struct policy *p = NULL;
        struct diag d = {0};

        if (policy_parse(text, strlen(text), "p", &p, &d) < 0)
                fail_msg("%u: %s", d.line, d.text);
        return p;
}

static void test_hand_over(void **state)
{
        _cleanup_free_ char *rotate =
                format_new("next_key = %s\nnext_exemption_key = %s\n", pairs[1].base64, pairs[2].base64);
        _cleanup_free_ char *retire = format_new("revoke_key = %s\npolicy_signatures = 1\n", pairs[0].id);
        _cleanup_free_ char *later = format_new("revoke_key = %s 2027-01-01T00:00:00Z\n", pairs[1].id);
        _cleanup_policy_ struct policy *first = policy_with(rotate), *second = policy_with(retire),
                                       *third = policy_with(later), *two = policy_with("policy_signatures = 3\n"),
                                       *none = policy_with("revoke_exemption = EX-1\n");
        struct trust_ring ring = {0};
        struct trust_verdict v;
        struct diag d = {0};

        trust_ring_add(&ring, TRUST_ROLE_POLICY, &pairs[0].key);
        assert_int_equal(verify(&ring, "1", NULL, 0, &v, &d), -ENOKEY);
        assert_true(policy_hands_over(first));
        assert_int_equal(policy_hand_over(first, &ring, "p", &d), 0);
        assert_int_equal(verify(&ring, "1", NULL, 0, &v, &d), 0);
        assert_int_equal(ring.n_keys[TRUST_ROLE_EXEMPTION], 1);
        assert_int_equal(policy_hand_over(two, &ring, "p", &d), -EPERM); /* only two could sign */
        assert_non_null(strstr(d.text, "nobody could sign the next policy"));
        assert_int_equal(policy_hand_over(second, &ring, "p", &d), 0);
        assert_int_equal(verify(&ring, "0", NULL, 0, &v, &d), -ENOKEY);
        assert_int_equal(verify(&ring, "1", NULL, 0, &v, &d), 0);
        assert_int_equal(policy_hand_over(third, &ring, "p", &d), -EPERM); /* once that day has come */
        assert_false(policy_hands_over(none));
        assert_true(policy_revokes_exemption(none, "EX-1"));
        assert_false(policy_revokes_exemption(none, "EX-2"));
        assert_int_equal(policy_hand_over(none, &ring, "p", &d), 0);
}

static void test_limits(void **state)
{
        struct trust_ring ring = {0};
        struct trust_key key = {0};

        for (unsigned i = 0; i < TRUST_KEYS_MAX; i++) {
                key.id[0] = (uint8_t)i;
                assert_int_equal(trust_ring_add(&ring, TRUST_ROLE_POLICY, &key), 0);
                assert_int_equal(trust_ring_add(&ring, TRUST_ROLE_POLICY, &key), 0);
        }
        key.id[1] = 1;
        assert_int_equal(trust_ring_add(&ring, TRUST_ROLE_POLICY, &key), -E2BIG);
        for (unsigned i = 0; i < TRUST_REVOKED_MAX; i++)
                assert_int_equal(trust_ring_revoke(&ring, (uint8_t[8]){(uint8_t)i}, 0), 0);
        assert_int_equal(trust_ring_revoke(&ring, (uint8_t[8]){0, 1}, 0), -E2BIG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_who_may_sign), cmocka_unit_test(test_no_key),
                cmocka_unit_test(test_revoked),      cmocka_unit_test(test_signed_at),
                cmocka_unit_test(test_time),         cmocka_unit_test(test_order),
                cmocka_unit_test(test_hand_over),    cmocka_unit_test(test_limits),
                cmocka_unit_test(test_comment_cut),
        };
        return cmocka_run_group_tests(tests, make_pairs, NULL);
}
