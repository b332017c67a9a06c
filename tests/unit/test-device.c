/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who the device is: its key and its system. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "agent/report/internal.h"
#include "base/cleanup.h"
#include "base/io.h"

static char dir[] = "/tmp/test-device-XXXXXX";

static int setup(void **state)
{
        return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -rf %s", dir);

        return system(command);
}

static void test_device_key(void **state)
{
        static const char *const bad[] = {"", "zz\n", "00\n", "\n"};
        _cleanup_free_ char *key = format_new("%s/device.key", dir), *public_path = format_new("%s/device.pub", dir);
        uint8_t p[2][DEVICE_KEY_SIZE], s[2][DEVICE_SECRET_SIZE];
        struct stat st;

        assert_int_equal(device_key_load(dir, p[0], s[0]), 0);
        assert_int_equal(stat(key, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(stat(public_path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        assert_int_equal(device_key_load(dir, p[1], s[1]), 0);
        assert_memory_equal(p[0], p[1], DEVICE_KEY_SIZE);
        assert_memory_equal(s[0], s[1], DEVICE_SECRET_SIZE);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert_int_equal(file_write_atomic(key, bad[i], strlen(bad[i]), 0600), 0);
                assert_int_equal(device_key_load(dir, p[1], s[1]), -EBADMSG);
                assert_int_equal(device_key_mend(dir, p[0], s[0]), 1);
                assert_int_equal(device_key_mend(dir, p[0], s[0]), 0);
                assert_int_equal(device_key_load(dir, p[1], s[1]), 0);
                assert_memory_equal(s[0], s[1], DEVICE_SECRET_SIZE);
        }
}

/* A malformed key makes another device, without the chain and the acknowledgements of the one before. */
static void test_device_key_damaged(void **state)
{
        _cleanup_free_ char *key = format_new("%s/device.key", dir),
                            *aside = format_new("%s/device.key.damaged2", dir);
        _cleanup_free_ char *spool = format_new("%s/spool", dir), *ack = format_new("%s/uplink/ack", dir);
        uint8_t p[2][DEVICE_KEY_SIZE], s[2][DEVICE_SECRET_SIZE];
        bool is_new;

        assert_int_equal(device_key_take(dir, p[0], s[0], &is_new), 0);
        assert_false(is_new);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(dir_make(spool, 0700), 0);
                assert_int_equal(file_write_atomic(key, "half", 4, 0600), 0);
                assert_int_equal(device_key_take(dir, p[1], s[1], &is_new), 0);
                assert_true(is_new);
                assert_memory_not_equal(s[0], s[1], DEVICE_SECRET_SIZE);
                assert_int_not_equal(access(spool, F_OK), 0);
                assert_int_not_equal(access(ack, F_OK), 0);
        }
        assert_int_equal(access(aside, F_OK), 0);
}

static void test_os_release(void **state)
{
        _cleanup_free_ char *path = format_new("%s/os-release", dir);
        static const struct {
                const char *text, *name, *version;
        } cases[] = {
                {"PRETTY_NAME=\"x\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n", "Debian GNU/Linux", "12"},
                {"NAME=Fedora\nVERSION_ID=41", "Fedora", "41"},
                {"VERSION_ID='9'\n", "Linux", "9"},
                {"", "Linux", ""},
                {"\n\nNAME=", "", ""},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char name[OS_TEXT_MAX], version[OS_TEXT_MAX];

                assert_int_equal(file_write_atomic(path, cases[i].text, strlen(cases[i].text), 0644), 0);
                os_release_read(path, name, version);
                assert_string_equal(name, cases[i].name);
                assert_string_equal(version, cases[i].version);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_device_key),
                                           cmocka_unit_test(test_device_key_damaged),
                                           cmocka_unit_test(test_os_release)};

        return cmocka_run_group_tests(tests, setup, teardown);
}
