/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Secret keys under a password at minisign's real cost: one scrypt is 1 GiB and seconds. */
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

/* Made by minisign 0.11, `minisign -G`, password "pw". */
static const char minisign_secret[] =
        "untrusted comment: minisign encrypted secret key\n"
        "RWRTY0IyWBYizvoobeV2wkAqTxmBRq79t1BoGjLYmkgDaZzr52UAAAACAAAAAAAAAEAAAAAA+lLuVyYxkhheSV+354+2mhC9s0mOPSnJ"
        "56GO+bkCNuBicKPlL599twPIuzqu4vlwsFsZ82ua4xK96BUyV8fQa4a2JTAGXYFeYXz+E3rO7NqGbiljEmJKlw4ITnGJZRlNeEebNqUB"
        "FLo=\n";

static void test_ours_opens_minisign(void **state)
{
        struct trust_secret secret;
        char id[TRUST_KEY_ID_TEXT];

        assert_int_equal(trust_secret_parse(minisign_secret, strlen(minisign_secret), "s.key", "pw", &secret, NULL),
                         0);
        trust_key_id_format(secret.id, id);
        assert_string_equal(id, "4868619736DADE3D");
}

static void test_minisign_opens_ours(void **state)
{
        _cleanup_free_ char *secret_text = NULL, *public_text = NULL, *signature = NULL;
        char folder[] = "/tmp/test-trust-XXXXXX";
        struct trust_signature s;
        struct trust_key key;

        assert_non_null(mkdtemp(folder));
        assert_int_equal(chdir(folder), 0);
        assert_int_equal(trust_key_new("pass word", TRUST_COST_SERVER, &secret_text, &public_text), 0);
        assert_int_equal(trust_key_parse(public_text, strlen(public_text), "k", &key, NULL), 0);
        assert_int_equal(file_write_atomic("key", secret_text, strlen(secret_text), 0600), 0);
        assert_int_equal(file_write_atomic("data", "data", 4, 0600), 0);
        assert_int_equal(system("echo 'pass word' | minisign -S -s key -m data -t ours >said 2>&1"), 0);
        assert_int_equal(file_read("data.minisig", TRUST_SIGNATURE_MAX_BYTES, &signature, NULL), 0);
        assert_int_equal(
                verify_one_of(&key, 1, &(struct trust_file){"s", "data", 4, signature, strlen(signature)}, &s, NULL),
                0);
        assert_string_equal(s.comment, "ours");
        assert_int_equal(system("rm key data data.minisig said"), 0);
        assert_int_equal(chdir("/") + rmdir(folder), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ours_opens_minisign),
                cmocka_unit_test(test_minisign_opens_ours),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
