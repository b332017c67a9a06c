/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "agent/state/lastrun.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/version.h"

#define BOOT_A "11111111-1111-4111-8111-111111111111"
/* as agents wrote it that did not name their version */
#define OLDER                                                                                                        \
        "boot " BOOT_A " stopped 1 utc_ms 5 boottime_ms 6 generation 7 since 3 catalogue "                           \
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
#define BOOT_B "22222222-2222-4222-8222-222222222222"

static void test_gap(void **state)
{
        static const struct {
                struct lastrun last, now;
                uint64_t gap_ms;
        } table[] = {
                {{.boot_id = BOOT_A, .stopped = true, .boottime_ms = 1}, {.boot_id = BOOT_A, .boottime_ms = 9}, 0},
                {{.boot_id = BOOT_A, .boottime_ms = 1000, .utc_ms = 9},
                 {.boot_id = BOOT_A, .boottime_ms = 4000},
                 3000},
                {{.boot_id = BOOT_A, .boottime_ms = 9000, .utc_ms = 100},
                 {.boot_id = BOOT_B, .boottime_ms = 5, .utc_ms = 700},
                 600},
                {{.boot_id = BOOT_A, .utc_ms = 700}, {.boot_id = BOOT_B, .utc_ms = 100}, 1},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert_int_equal(lastrun_gap_ms(&table[i].last, &table[i].now), table[i].gap_ms);
}

static void test_cause(void **state)
{
        static const struct {
                struct lastrun last, now;
                const char *cause;
        } table[] = {
                {{.boot_id = BOOT_A, .version = "1"}, {.boot_id = BOOT_A, .version = "1"}, "restart"},
                {{.boot_id = BOOT_A, .version = "1"}, {.boot_id = BOOT_A, .version = "2"}, "upgrade"},
                {{.boot_id = BOOT_A, .version = ""}, {.boot_id = BOOT_A, .version = "2"}, "upgrade"},
                {{.boot_id = BOOT_A, .version = "1"}, {.boot_id = BOOT_B, .version = "2"}, "boot"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert_string_equal(lastrun_cause(&table[i].last, &table[i].now), table[i].cause);
        assert_string_equal(lastrun_cause(NULL, &table[0].now), "first");
}

static void test_file(void **state)
{
        struct lastrun l = {.generation = 7, .same_numbers_since = 3, .stopped = true}, back;
        char dir[] = "/tmp/lastrun-XXXXXX", path[64];

        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/last-run", dir);
        memset(l.catalogue_hash, 'a', 64);
        lastrun_stamp(&l);
        assert_int_equal(strlen(l.boot_id), 36);
        assert_true(l.utc_ms > 0 && l.boottime_ms > 0);
        assert_int_equal(lastrun_read(dir, &back), -ENOENT);
        assert_int_equal(lastrun_write(dir, &l), 0);
        assert_int_equal(lastrun_read(dir, &back), 0);
        assert_memory_equal(&l, &back, sizeof(l));
        assert_string_equal(back.version, onchannel_version);
        assert_int_equal(file_write_atomic(path, OLDER, strlen(OLDER), 0600), 0);
        assert_int_equal(lastrun_read(dir, &back), 0);
        assert_string_equal(back.version, "");
        assert_int_equal(file_write_atomic(path, "boot x\n", 7, 0600), 0);
        assert_int_equal(lastrun_read(dir, &back), -EBADMSG);
        unlink(path);
        rmdir(dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_gap),
                cmocka_unit_test(test_cause),
                cmocka_unit_test(test_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
