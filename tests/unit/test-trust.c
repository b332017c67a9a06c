/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "trust/trust.h"
#include "tests/unit/verify.h"

static const char policy[] = "[policy]\n"
                             "format = 1\n"
                             "organisation = Example Bank plc\n"
                             "serial = 42\n"
                             "not_before = 2026-11-21T00:00:00Z\n"
                             "expires = 2027-02-21T00:00:00Z\n";
static const char comment[] = "onchannel policy serial=42 expires=2027-02-21T00:00:00Z";

/* Made by minisign 0.11: `minisign -G -W`, then `minisign -S -l` over "hi\n". */
static const char minisign_public[] = "untrusted comment: minisign public key 360E63AC7C5E3D35\n"
                                      "RWQ1PV58rGMONlKUWQMoVP4q33o0R/5dJ3+soI1xpAE+N4L7JgwI3iFY\n";
static const char legacy_signature[] =
        "untrusted comment: signature from minisign secret key\n"
        "RWQ1PV58rGMONkAXPGaVl0yveux/hit/HFWSrpwa8v/irppQhCctHOMOxyyUn63F3yocIp++XSlVKLPPQusnku56PZnwQie43w8=\n"
        "trusted comment: legacy\n"
        "kcUNVXFEGZxCknbn+rB88C3MQi4n8XQ4pL7Sqdqm4kKeRgvDV8OlqYHBgsrBxbCeXrKVXqQWoneU2c7sEgtlCg==\n";
/* scrypt at its lowest cost, so that the test is quick; password "correct horse". */
static const char encrypted_secret[] =
        "untrusted comment: minisign encrypted secret key\n"
        "RWRTY0IyOLNkQvw4lSVqn4F5xy0HDPGyco76fnaSfKkh8l1aU44AgAAAAAAAAAAAAAEAAAAAYPJCtnYkYyrB1R62NEl5sKVHKc80Sye7"
        "OvrXyDHCb4kRIk3GKqnlBGMIS8KKil8in28DxGBnT0Vhi1ca4GWDP2IpFdQH1qkNfaAcXVQeRs8XqiwrUPKjZVsFSwZE3Rvu+rbnI+O4"
        "HvY=\n";

static char folder[] = "/tmp/test-trust-XXXXXX";

static int enter(void **state)
{
        return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state)
{
        return system("rm -f ./*") == 0 && chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void save(const char *name, const char *text)
{
        assert_int_equal(file_write_atomic(name, text, strlen(text), 0600), 0);
}

static char *load(const char *name)
{
        char *text = NULL;

        assert_int_equal(file_read(name, 65536, &text, NULL), 0);
        return text;
}

static int verify(const struct trust_key *key, const char *data, const char *signature, struct trust_signature *ret,
                  struct diag *reterr)
{
        return verify_one_of(key, 1,
                             &(struct trust_file){"s.minisig", data, strlen(data), signature, strlen(signature)}, ret,
                             reterr);
}

static void key_pair(struct trust_secret *secret, struct trust_key *key)
{
        _cleanup_free_ char *secret_text = NULL, *public_text = NULL;

        assert_int_equal(trust_key_new(NULL, TRUST_COST_OFFLINE, &secret_text, &public_text), 0);
        assert_int_equal(trust_secret_parse(secret_text, strlen(secret_text), "k", NULL, secret, NULL), 0);
        assert_int_equal(trust_key_parse(public_text, strlen(public_text), "k", key, NULL), 0);
        assert_memory_equal(secret->id, key->id, sizeof(key->id));
}

static void test_minisign_reads_ours(void **state)
{
        _cleanup_free_ char *secret_text = NULL, *public_text = NULL, *signature = NULL, *said = NULL;
        struct trust_secret secret;

        assert_int_equal(trust_key_new(NULL, TRUST_COST_OFFLINE, &secret_text, &public_text), 0);
        assert_int_equal(trust_secret_parse(secret_text, strlen(secret_text), "k", NULL, &secret, NULL), 0);
        assert_int_equal(trust_sign(&secret, policy, strlen(policy), comment, &signature), 0);
        save("our.pub", public_text);
        save("policy.ini", policy);
        save("policy.ini.minisig", signature);
        assert_int_equal(system("minisign -V -Q -p our.pub -m policy.ini >said"), 0);
        said = load("said");
        assert_memory_equal(said, comment, strlen(comment));
        save("policy.ini", "other");
        assert_int_not_equal(system("minisign -V -Q -p our.pub -m policy.ini >said 2>&1"), 0);
        trust_secret_done(&secret);
}

static void test_ours_reads_minisign(void **state)
{
        _cleanup_free_ char *public_text = NULL, *secret_text = NULL, *signature = NULL, *ours = NULL;
        struct trust_signature s;
        struct trust_secret secret;
        struct trust_key key;
        struct diag d = {0};

        save("policy.ini", policy);
        assert_int_equal(system("minisign -G -W -f -p their.pub -s their.key >said"), 0);
        assert_int_equal(system("minisign -S -s their.key -m policy.ini -t 'one\ttwo' -c free >said"), 0);
        public_text = load("their.pub");
        secret_text = load("their.key");
        signature = load("policy.ini.minisig");
        assert_int_equal(trust_key_parse(public_text, strlen(public_text), "k", &key, &d), 0);
        assert_int_equal(verify(&key, policy, signature, &s, &d), 0);
        assert_string_equal(s.comment, "one\ttwo");
        assert_memory_equal(s.key_id, key.id, sizeof(key.id));
        assert_int_equal(verify(&key, "other", signature, &s, &d), -EKEYREJECTED);

        assert_int_equal(trust_secret_parse(secret_text, strlen(secret_text), "k", NULL, &secret, &d), 0);
        assert_int_equal(trust_sign(&secret, policy, strlen(policy), comment, &ours), 0);
        save("policy.ini.minisig", ours);
        assert_int_equal(system("minisign -V -Q -p their.pub -m policy.ini >said"), 0);
}

static void test_minisign_signs_with_our_key(void **state)
{
        _cleanup_free_ char *secret_text = NULL, *public_text = NULL, *signature = NULL;
        struct trust_signature s;
        struct trust_key key;

        assert_int_equal(trust_key_new(NULL, TRUST_COST_OFFLINE, &secret_text, &public_text), 0);
        save("our.key", secret_text);
        save("policy.ini", policy);
        assert_int_equal(system("minisign -S -s our.key -m policy.ini -t 'by minisign' >said"), 0);
        signature = load("policy.ini.minisig");
        assert_int_equal(trust_key_parse(public_text, strlen(public_text), "k", &key, NULL), 0);
        assert_int_equal(verify(&key, policy, signature, &s, NULL), 0);
        assert_string_equal(s.comment, "by minisign");
}

/* No single wrong bit passes, but in the words of the untrusted comment, which nobody signs. */
static void test_every_bit(void **state)
{
        _cleanup_free_ char *signature = NULL, *data = strdup(policy);
        struct trust_signature s;
        struct trust_secret secret;
        struct trust_key key;
        size_t free_from, free_to;

        key_pair(&secret, &key);
        assert_int_equal(trust_sign(&secret, policy, strlen(policy), comment, &signature), 0);
        free_from = strlen("untrusted comment: ");
        free_to = (size_t)(strchr(signature, '\n') - signature);
        for (size_t bit = 0; bit < 8 * strlen(policy); bit++) {
                data[bit / 8] ^= (char)(1 << bit % 8);
                assert_int_equal(verify_one_of(&key, 1,
                                               &(struct trust_file){"s", data, sizeof(policy) - 1, signature,
                                                                    strlen(signature)},
                                               &s, NULL),
                                 -EKEYREJECTED);
                data[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (size_t size = strlen(signature), bit = 0; bit < 8 * size; bit++) {
                bool is_free = bit / 8 >= free_from && bit / 8 < free_to;
                int r;

                signature[bit / 8] ^= (char)(1 << bit % 8);
                r = verify_one_of(&key, 1, &(struct trust_file){"s", policy, strlen(policy), signature, size}, &s,
                                  NULL);
                if (r >= 0 && !is_free)
                        fail_msg("byte %zu, bit %zu", bit / 8, bit % 8);
                if (r >= 0)
                        assert_string_equal(s.comment, comment);
                signature[bit / 8] ^= (char)(1 << bit % 8);
        }
        assert_int_equal(verify(&key, data, signature, &s, NULL), 0);
}

static void test_truncated(void **state)
{
        _cleanup_free_ char *signature = NULL;
        struct trust_signature s;
        struct trust_secret secret;
        struct trust_key key;
        size_t size;

        key_pair(&secret, &key);
        assert_int_equal(trust_sign(&secret, policy, strlen(policy), comment, &signature), 0);
        size = strlen(signature);
        for (size_t n = 0; n + 1 < size; n++)
                assert_int_equal(verify_one_of(&key, 1,
                                               &(struct trust_file){"s", policy, strlen(policy), signature, n}, &s,
                                               NULL),
                                 -EBADMSG);
        assert_int_equal(verify_one_of(&key, 1,
                                       &(struct trust_file){"s", policy, strlen(policy), signature, size - 1}, &s,
                                       NULL),
                         0);
        for (size_t n = 0; n < strlen(policy); n++)
                assert_int_equal(
                        verify_one_of(&key, 1, &(struct trust_file){"s", policy, n, signature, size}, &s, NULL),
                        -EKEYREJECTED);
}

static void test_which_key(void **state)
{
        _cleanup_free_ char *signature = NULL;
        struct trust_secret secret, other_secret;
        struct trust_signature s = {.comment = "untouched"};
        struct trust_key keys[2];
        struct diag d = {0};
        size_t size;

        key_pair(&secret, &keys[0]);
        key_pair(&other_secret, &keys[1]);
        assert_int_equal(trust_sign(&secret, policy, strlen(policy), comment, &signature), 0);
        size = strlen(signature);
        assert_int_equal(
                verify_one_of(NULL, 0, &(struct trust_file){"s", policy, strlen(policy), signature, size}, &s, &d),
                -ENOKEY);
        assert_int_equal(verify(&keys[1], policy, signature, &s, &d), -ENOKEY);
        memcpy(keys[1].id, keys[0].id, sizeof(keys[0].id)); /* a forged id */
        assert_int_equal(verify(&keys[1], policy, signature, &s, &d), -EKEYREJECTED);
        assert_string_equal(s.comment, "untouched");
        memcpy(&keys[1], &keys[0], sizeof(keys[0]));
        keys[0].public_key[0] ^= 1;
        assert_int_equal(
                verify_one_of(keys, 2, &(struct trust_file){"s", policy, strlen(policy), signature, size}, &s, &d),
                0);
        assert_string_equal(s.comment, comment);
}

#define B64_74                                                                                                       \
        "RUQ1PV58rGMONkAXPGaVl0yveux/hit/HFWSrpwa8v/irppQhCctHOMOxyyUn63F3yocIp++XSlVKLPPQusnku56PZnwQie43w8=\n"
#define B64_64 "kcUNVXFEGZxCknbn+rB88C3MQi4n8XQ4pL7Sqdqm4kKeRgvDV8OlqYHBgsrBxbCeXrKVXqQWoneU2c7sEgtlCg==\n"
#define U      "untrusted comment: u\n"
#define T      "trusted comment: t\n"

static void test_malformed_signature(void **state)
{
        static char huge[TRUST_SIGNATURE_MAX_BYTES + 1], wide[TRUST_COMMENT_MAX + 512];
        const struct {
                const char *text;
                int r;
                unsigned line;
                const char *reason;
        } table[] = {
                {legacy_signature, -EBADMSG, 2, "legacy signature without prehashing"},
                {U B64_74 T B64_64, -EKEYREJECTED, 0, "is wrong"},
                {"", -EBADMSG, 1, "file ends too early"},
                {"comment: u\n", -EBADMSG, 1, "does not start with 'untrusted comment: '"},
                {"untrusted comment: \xff\n", -EBADMSG, 1, "not printable UTF-8"},
                {"untrusted comment: \x1b[2J\n", -EBADMSG, 1, "not printable UTF-8"},
                {U, -EBADMSG, 2, "file ends too early"},
                {U "\n", -EBADMSG, 2, "not of the length"},
                {U B64_64, -EBADMSG, 2, "not of the length"},
                {U " " B64_74, -EBADMSG, 2, "not of the length"},
                {U "!!!!PV58rGMONkAXPGaVl0yveux/hit/HFWSrpwa8v/"
                   "irppQhCctHOMOxyyUn63F3yocIp++XSlVKLPPQusnku56PZnwQie43w8=\n",
                 -EBADMSG, 2, "not base64"},
                {U "RUQ1PV58rGMONkAXPGaVl0yveux_hit_HFWSrpwa8v_irppQhCctHOMOxyyUn63F3yocIp--"
                   "XSlVKLPPQusnku56PZnwQie43w8=\n",
                 -EBADMSG, 2, "not base64"},
                {U "RUQ1PV58rGMONkAXPGaVl0yveux/hit/HFWSrpwa8v/"
                   "irppQhCctHOMOxyyUn63F3yocIp++XSlVKLPPQusnku56PZnwQie43w9=\n",
                 -EBADMSG, 2, "not base64"}, /* the unused bits of the last digit are set */
                {U "RUQ1PV58rGMONkAXPGaVl0yveux\xafhit/HFWSrpwa8v/"
                   "irppQhCctHOMOxyyUn63F3yocIp++XSlVKLPPQusnku56PZnwQie43w8=\n",
                 -EBADMSG, 2, "not base64"}, /* '/' with its top bit set */
                {U "WFg1PV58rGMONkAXPGaVl0yveux/hit/HFWSrpwa8v/"
                   "irppQhCctHOMOxyyUn63F3yocIp++XSlVKLPPQusnku56PZnwQie43w8=\n",
                 -EBADMSG, 2, "unknown kind of signature"},
                {U B64_74, -EBADMSG, 3, "file ends too early"},
                {U B64_74 U B64_64, -EBADMSG, 3, "does not start with 'trusted comment: '"},
                {U B64_74 "Trusted comment: t\n" B64_64, -EBADMSG, 3, "does not start with"},
                {U B64_74 "trusted comment: \xc0\xaf\n" B64_64, -EBADMSG, 3, "not printable UTF-8"},
                {U B64_74 T, -EBADMSG, 4, "file ends too early"},
                {U B64_74 T B64_74, -EBADMSG, 4, "not of the length"},
                {U B64_74 T B64_64 "\n", -EKEYREJECTED, 0, "is wrong"},
                {wide, -EBADMSG, 3, "trusted comment longer than 511 bytes"},
                {huge, -EBADMSG, 0, "signature larger than 2048 bytes"},
        };
        struct trust_signature s;
        struct trust_key key;

        memset(huge, 'x', sizeof(huge) - 1);
        snprintf(wide, sizeof(wide), U B64_74 "trusted comment: %0512d\n" B64_64, 0);
        assert_int_equal(trust_key_parse(minisign_public, strlen(minisign_public), "k", &key, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct diag d = {0};
                size_t size = table[i].text == huge ? sizeof(huge) : strlen(table[i].text);
                int r = verify_one_of(&key, 1, &(struct trust_file){"s.minisig", "hi\n", 3, table[i].text, size}, &s,
                                      &d);

                if (r != table[i].r || d.line != table[i].line || !strstr(d.text, table[i].reason))
                        fail_msg("entry %zu: %d line %u: '%s'", i, r, d.line, d.text);
                assert_string_equal(d.file, "s.minisig");
        }
}

static void test_malformed_key(void **state)
{
        static char huge[TRUST_KEY_MAX_BYTES + 1];
        const struct {
                const char *text;
                unsigned line;
                const char *reason;
        } table[] = {
                {"", 1, "file ends too early"},
                {"RWQ1PV58rGMONlKUWQMoVP4q33o0R/5dJ3+soI1xpAE+N4L7JgwI3iFY\n", 1, "does not start with"},
                {U, 2, "file ends too early"},
                {U "RWQ1PV58rGMONlKUWQMoVP4q33o0R/5dJ3+soI1xpAE+N4L7JgwI3i==\n", 2, "not base64"},
                {U "RWQ1PV58rGMONlKUWQMoVP4q33o0R/5dJ3+soI1xpAE+N4L7JgwI3iF\n", 2, "not of the length"},
                {U "RUQ1PV58rGMONlKUWQMoVP4q33o0R/5dJ3+soI1xpAE+N4L7JgwI3iFY\n", 2, "not an Ed25519 public key"},
                {U "RWQ1PV58rGMONlKUWQMoVP4q33o0R/5dJ3+soI1xpAE+N4L7JgwI3iFY\nx", 3, "text behind the end"},
                {U B64_74, 2, "not of the length"},
                {huge, 0, "key file larger than 1024 bytes"},
        };
        struct trust_key key;

        memset(huge, 'x', sizeof(huge) - 1);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct diag d = {0};
                size_t size = table[i].text == huge ? sizeof(huge) : strlen(table[i].text);

                assert_int_equal(trust_key_parse(table[i].text, size, "k.pub", &key, &d), -EBADMSG);
                if (d.line != table[i].line || !strstr(d.text, table[i].reason))
                        fail_msg("entry %zu: line %u: '%s'", i, d.line, d.text);
        }
}

static void test_key_id(void **state)
{
        char id[TRUST_KEY_ID_TEXT];
        struct trust_key key;

        assert_int_equal(trust_key_parse(minisign_public, strlen(minisign_public), "k", &key, NULL), 0);
        trust_key_id_format(key.id, id);
        assert_string_equal(id, "360E63AC7C5E3D35");
}

static void test_password(void **state)
{
        static const struct {
                const char *password;
                int r;
                const char *reason;
        } table[] = {
                {"correct horse", 0, ""},
                {"correct horse ", -EKEYREJECTED, "wrong password"},
                {"", -EKEYREJECTED, "wrong password"},
                {NULL, -EKEYREJECTED, "needs its password"},
        };
        static const struct {
                size_t digit;
                const char *top;
        } costs[] = {
                {60, "/wAA"}, /* byte 45 of 158, the top of scrypt's opslimit */
                {68, "AAD/"}, /* byte 53, the top of its memlimit */
        };
        _cleanup_free_ char *unknown = strdup(encrypted_secret);
        struct trust_secret secret;
        struct diag d = {0};
        char id[TRUST_KEY_ID_TEXT];

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert_int_equal(trust_secret_parse(encrypted_secret, strlen(encrypted_secret), "s.key",
                                                    table[i].password, &secret, &d),
                                 table[i].r);
                assert_non_null(strstr(d.text, table[i].reason));
        }
        trust_key_id_format(secret.id, id);
        assert_string_equal(id, "0FB5CF3E8BFAF39F");
        for (size_t i = 0; i < ELEMENTSOF(costs); i++) {
                _cleanup_free_ char *costly = strdup(encrypted_secret);

                memcpy(strchr(costly, '\n') + 1 + costs[i].digit, costs[i].top, 4);
                assert_int_equal(trust_secret_parse(costly, strlen(costly), "s.key", "correct horse", &secret, &d),
                                 -EBADMSG);
                assert_non_null(strstr(d.text, "more memory or time"));
        }
        memcpy(strchr(unknown, '\n') + 1, "RWRTZEIy", 8); /* "Sd" for "Sc" */
        assert_int_equal(trust_secret_parse(unknown, strlen(unknown), "s.key", "correct horse", &secret, &d),
                         -EBADMSG);
        assert_non_null(strstr(d.text, "encrypted in an unknown way"));
}

/* A secret key that is not encrypted has no checksum: its two halves are one. */
static void test_damaged_secret(void **state)
{
        _cleanup_free_ char *secret_text = NULL, *public_text = NULL;
        struct trust_secret secret;
        char *line;

        assert_int_equal(trust_key_new(NULL, TRUST_COST_OFFLINE, &secret_text, &public_text), 0);
        line = strchr(secret_text, '\n') + 1;
        for (size_t i = 84; i < 160; i++) { /* base64 digits wholly inside the 64 bytes at 62 */
                char kept = line[i];

                line[i] = kept == 'A' ? 'B' : 'A';
                assert_int_equal(trust_secret_parse(secret_text, strlen(secret_text), "k", NULL, &secret, NULL),
                                 -EBADMSG);
                line[i] = kept;
        }
        assert_int_equal(trust_secret_parse(secret_text, strlen(secret_text), "k", NULL, &secret, NULL), 0);
        trust_secret_done(&secret);
        for (size_t i = 0; i < sizeof(secret.secret_key); i++)
                assert_int_equal(secret.secret_key[i], 0);
}

static void test_sign_refuses(void **state)
{
        static char wide[TRUST_COMMENT_MAX + 1];
        const char *const table[] = {"a\nb", "a\rb", "\x1b", "\xff", wide};
        struct trust_secret secret;
        struct trust_key key;
        char *signature = NULL;

        memset(wide, 'a', TRUST_COMMENT_MAX);
        key_pair(&secret, &key);
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert_int_equal(trust_sign(&secret, "", 0, table[i], &signature), -EINVAL);
        assert_null(signature);
        wide[TRUST_COMMENT_MAX - 1] = 0;
        assert_int_equal(trust_sign(&secret, "", 0, wide, &signature), 0);
        free(signature);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_minisign_reads_ours),
                cmocka_unit_test(test_ours_reads_minisign),
                cmocka_unit_test(test_minisign_signs_with_our_key),
                cmocka_unit_test(test_every_bit),
                cmocka_unit_test(test_truncated),
                cmocka_unit_test(test_which_key),
                cmocka_unit_test(test_malformed_signature),
                cmocka_unit_test(test_malformed_key),
                cmocka_unit_test(test_key_id),
                cmocka_unit_test(test_password),
                cmocka_unit_test(test_damaged_secret),
                cmocka_unit_test(test_sign_refuses),
        };

        return cmocka_run_group_tests(tests, enter, leave);
}
