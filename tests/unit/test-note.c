/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "record/note.h"

/* The worked example of the signed-note format's first implementation (Go's sumdb/note). */
#define NEUMANN_VKEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define NEUMANN_TEXT                                                                                                 \
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
#define NEUMANN_LINE                                                                                                 \
        "\xe2\x80\x94 PeterNeumann "                                                                                 \
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"

/* Computed with Python's cryptography for the seed 00 01 … 1f. */
#define LOG_VKEY     "example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
#define WITNESS_VKEY "witness.example.com/w1+a0059f11+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
#define TEXT         "example.com/log\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
#define LOG_LINE                                                                                                     \
        "\xe2\x80\x94 example.com/log "                                                                              \
        "1FXFIbVHtooa8v9v5d6W5Jt7OhjKOdM8Y6bhmeDZvPwiKLCEoaet931s9p2qv70XL1SoWGNUmvIEBQHCYwob1pAdJQc=\n"
#define WITNESS_LINE                                                                                                 \
        "\xe2\x80\x94 witness.example.com/w1 "                                                                       \
        "oAWfEQAAAABkGFDL7G08ue6BVRDAprXpvVxjLg4HiE5JFAZme/h74PX3UwnAHrQ1efWw+1CffQEbeP6mZLkppUOi0a4U2Bkb0TswDg==\n"
#define STAMP 1679315147

static uint8_t public_key[NOTE_KEY_SIZE], secret[NOTE_SECRET_SIZE];

static int setup(void **state)
{
        uint8_t seed[crypto_sign_SEEDBYTES];

        for (uint8_t i = 0; i < sizeof(seed); i++)
                seed[i] = i;
        return crypto_sign_seed_keypair(public_key, secret, seed);
}

static int verify(const char *note, const char *vkey)
{
        struct note_key k;

        assert_int_equal(note_key_parse(vkey, &k), 0);
        return note_verify(note, strlen(note), &k, NULL);
}

static void test_foreign(void **state)
{
        assert_int_equal(verify(NEUMANN_TEXT "\n" NEUMANN_LINE, NEUMANN_VKEY), 0);
        assert_int_equal(verify("x" NEUMANN_TEXT "\n" NEUMANN_LINE, NEUMANN_VKEY), -EKEYREJECTED);
        assert_int_equal(verify(NEUMANN_TEXT "\n" NEUMANN_LINE, LOG_VKEY), -ENOKEY);
}

static void test_sign(void **state)
{
        static const struct {
                const char *name, *vkey, *line;
                enum note_kind kind;
        } keys[] = {
                {"example.com/log", LOG_VKEY, LOG_LINE, NOTE_ED25519},
                {"witness.example.com/w1", WITNESS_VKEY, WITNESS_LINE, NOTE_COSIGNATURE},
        };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                _cleanup_buf_ struct buf line = {0};
                char vkey[NOTE_VKEY_MAX];
                struct note_key k, again;

                assert_int_equal(note_key_init(&k, keys[i].name, keys[i].kind, public_key), 0);
                note_key_format(&k, vkey);
                assert_string_equal(vkey, keys[i].vkey);
                assert_int_equal(note_key_parse(vkey, &again), 0);
                assert_memory_equal(k.public_key, again.public_key, sizeof(k.public_key));
                assert_int_equal(again.kind, keys[i].kind);
                note_sign(&line, TEXT, strlen(TEXT), &k, secret, STAMP);
                assert_string_equal((const char *)line.data, keys[i].line);
        }
}

static void test_cosigned(void **state)
{
        static const char note[] = TEXT "\n" LOG_LINE WITNESS_LINE;
        struct note_key log, witness;
        struct checkpoint c;
        uint64_t time_s = 0;

        assert_int_equal(note_key_parse(LOG_VKEY, &log), 0);
        assert_int_equal(note_key_parse(WITNESS_VKEY, &witness), 0);
        assert_int_equal(note_verify(note, strlen(note), &witness, &time_s), 0);
        assert_int_equal(time_s, STAMP);
        assert_int_equal(checkpoint_open(note, strlen(note), &log, &c), 0);
        assert_string_equal(c.origin, "example.com/log");
        assert_int_equal(c.head.size, 20852163);
        assert_int_equal(c.head.root[31], 31);
        /* a witness's word is no checkpoint of its own */
        assert_int_equal(checkpoint_open(note, strlen(note), &witness, &c), -EBADMSG);
}

/* No byte of a note can be another. */
static void test_every_byte(void **state)
{
        char note[] = TEXT "\n" LOG_LINE;
        struct note_key log;
        struct checkpoint c;

        assert_int_equal(note_key_parse(LOG_VKEY, &log), 0);
        for (size_t i = 0; i < strlen(note); i++)
                for (int bit = 0; bit < 8; bit++) {
                        note[i] ^= (char)(1 << bit);
                        if (checkpoint_open(note, sizeof(note) - 1, &log, &c) == 0)
                                fail_msg("bit %d of byte %zu", bit, i);
                        note[i] ^= (char)(1 << bit);
                }
        assert_int_equal(checkpoint_open(note, sizeof(note) - 1, &log, &c), 0);
        for (size_t size = 0; size < sizeof(note) - 1; size++)
                assert_true(checkpoint_open(note, size, &log, &c) < 0);
}

static void test_malformed(void **state)
{
        static const char *const notes[] = {
                "",
                "\n",
                "\n\n",
                "text\n",
                "text\n\n",
                "\n\n" LOG_LINE "x",
                TEXT LOG_LINE,
                TEXT "\n" LOG_LINE "\n",
                TEXT "\n" LOG_LINE "x\n",
                TEXT "\n- example.com/log AAAA\n",
                TEXT "\t\n\n" LOG_LINE,
                "\xff\n\n" LOG_LINE,
        };
        static const char *const checkpoints[] = {
                "",
                "a\n",
                "a\n1\n",
                "a\n1\nAAA=\n",
                "a b\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
                "a\n01\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
                "a\n-1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
                "a\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
                "a\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                "a\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
                "a\n18446744073709551616\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        };
        static const char *const vkeys[] = {
                "",
                "a",
                "a+b+c",
                "+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
                "example.com/log+d455c522+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
                "example.com/log+d455c521+AgOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
                "example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG",
                LOG_VKEY "=",
        };
        struct note_key k;
        struct checkpoint c;

        for (size_t i = 0; i < ELEMENTSOF(notes); i++)
                if (verify(notes[i], LOG_VKEY) != -EBADMSG)
                        fail_msg("note %zu", i);
        for (size_t i = 0; i < ELEMENTSOF(checkpoints); i++)
                if (checkpoint_parse(checkpoints[i], strlen(checkpoints[i]), &c) != -EBADMSG)
                        fail_msg("checkpoint %zu", i);
        for (size_t i = 0; i < ELEMENTSOF(vkeys); i++)
                if (note_key_parse(vkeys[i], &k) != -EINVAL)
                        fail_msg("key %zu", i);
        assert_int_equal(note_key_init(&k, "with space", NOTE_ED25519, public_key), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_foreign),    cmocka_unit_test(test_sign),      cmocka_unit_test(test_cosigned),
                cmocka_unit_test(test_every_byte), cmocka_unit_test(test_malformed),
        };

        return cmocka_run_group_tests(tests, setup, NULL);
}
