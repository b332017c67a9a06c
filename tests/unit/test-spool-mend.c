/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is left of a spool after somebody else worked on its folder while it was open. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "spool/spool.h"

#define BOOT "01234567-89ab-cdef-0123-456789abcdef"

static char dir[64], spool_dir[80];
static uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
static char device[DEVICE_ID_MAX];

static int setup(void **state)
{
        strcpy(dir, "/tmp/test-mend-XXXXXX");
        assert_non_null(mkdtemp(dir));
        snprintf(spool_dir, sizeof(spool_dir), "%s/spool", dir);
        device_key_new(public_key, secret);
        device_id_format(public_key, device);
        return dir_make(spool_dir, 0700);
}

static int shell(const char *command)
{
        _cleanup_free_ char *line = format_new("cd %s && %s", dir, command);

        return system(line);
}

static int teardown(void **state)
{
        _cleanup_free_ char *line = format_new("rm -rf %s", dir);

        return system(line);
}

/* Records 1..n, sealed; the first `acknowledged` of them are. */
static struct spool *spool_with(unsigned n, unsigned acknowledged)
{
        struct spool_options o = {.dir = spool_dir,
                                  .max_bytes = 64 << 10, /* segments of 16 KiB */
                                  .device_id = device,
                                  .boot_id = BOOT,
                                  .public_key = public_key,
                                  .secret = secret,
                                  .group = -1};
        char record[4096];
        struct spool *s = NULL;

        assert_int_equal(spool_open(&o, &s), 0);
        for (unsigned i = 0; i < n; i++) {
                memset(record, '.', sizeof(record));
                record[0] = '{';
                record[sizeof(record) - 1] = '}';
                assert_int_equal(spool_append(s, record, sizeof(record)), 0);
                assert_int_equal(spool_seal(s), 0);
        }
        assert_int_equal(spool_acknowledge(s, acknowledged), 0);
        return s;
}

static void assert_readable(uint64_t after, uint64_t until)
{
        while (after < until) {
                _cleanup_(batch_done) struct batch b = {0};
                _cleanup_free_ char *text = NULL;
                uint64_t first, last;
                size_t size;

                assert_int_equal(spool_read_batch(spool_dir, device, after, &text, &size, &first, &last), 0);
                assert_int_equal(batch_parse(text, size, public_key, &b, NULL), 0);
                assert_int_equal(first, after + 1);
                after = last;
        }
}

static void test_mended(void **state)
{
        static const struct {
                const char *command;
                unsigned n;
                bool bytes;
                int result;
        } cases[] = {
                {"true", 2, true, 0},
                {"true", 9, true, 0}, /* more than one segment */
                {"rm spool/*.seg", 2, false, 1},
                {"rm spool/state", 2, false, 1},
                {"rm -r spool", 2, false, 1},
                {"mv spool away", 2, true, 1},
                {"for f in spool/*.seg; do cp $f x && mv x $f; done", 2, false, 1}, /* another file of that name */
                {"rm spool/*.seg", 9, false, 1}, /* older ones, too */
                {"rm $(ls spool/*.seg | head -1)", 9, true, 1},
                {"rm -r spool", 9, true, 1},
                {"truncate -s 100 spool/*.seg", 2, false, -EBADMSG},
                {"for f in spool/*.seg; do printf x | dd of=$f bs=1 seek=2000 conv=notrunc 2>/dev/null; done", 2,
                 true, -EBADMSG},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct spool *s = spool_with(cases[i].n, 1);
                uint64_t next = spool_state(s)->next_seq;

                assert_int_equal(shell(cases[i].command), 0);
                int r = spool_mend(s, cases[i].bytes);
                if (r != cases[i].result)
                        fail_msg("case %zu '%s': %d", i, cases[i].command, r);
                if (r >= 0) {
                        assert_int_equal(spool_append(s, "{}", 2), 0);
                        assert_int_equal(spool_seal(s), 0);
                        assert_int_equal(spool_mend(s, true), 0);
                        assert_readable(1, next);
                }
                spool_free(s);
                s = spool_with(0, 1); /* opens again whatever happened, behind what was acknowledged */
                assert_true(spool_state(s)->next_seq >= 2);
                spool_free(s);
                assert_int_equal(shell("rm -rf spool away && mkdir spool"), 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_mended, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
