/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

static char folder[] = "/tmp/test-io-XXXXXX";

static int enter(void **state)
{
        return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave(void **state)
{
        unlink("file");
        unlink("fifo");
        unlink("log");
        rmdir("a/b/c");
        rmdir("a/b");
        rmdir("a");
        return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void test_write_and_read(void **state)
{
        _cleanup_free_ char *text = NULL, *path = format_new("%s/file", folder);
        size_t size = 99;
        struct stat st;

        assert_int_equal(file_write_atomic("file", "old", 3, 0600), 0);
        assert_int_equal(file_write_atomic(path, "new\0text", 8, 0644), 0);
        assert_int_equal(file_read(path, 8, &text, &size), 0);
        assert_int_equal(size, 8);
        assert_memory_equal(text, "new\0text", 9);
        assert_int_equal(stat("file", &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
}

static void test_read_refuses(void **state)
{
        char *text = NULL;
        size_t size = 99;

        assert_int_equal(file_write_atomic("file", "12345", 5, 0600), 0);
        assert_int_equal(mkfifo("fifo", 0600), 0);
        assert_int_equal(file_read("file", 4, &text, &size), -EFBIG);
        assert_int_equal(file_read("absent", 4, &text, &size), -ENOENT);
        assert_int_equal(file_read(".", 4, &text, &size), -EISDIR);
        assert_int_equal(file_read("fifo", 4, &text, &size), -EINVAL); /* and does not wait for a writer */
        assert_int_equal(file_read("/dev/zero", 4, &text, &size), -EINVAL);
        assert_int_equal(file_read("/proc/self/maps", 16, &text, &size), -EFBIG); /* says size 0 */
        assert_null(text);
        assert_int_equal(size, 99);
}

static void test_read_proc(void **state)
{
        _cleanup_free_ char *text = NULL;
        size_t size;

        assert_int_equal(file_read("/proc/self/maps", 1u << 20, &text, &size), 0);
        assert_true(size > 100);
        assert_int_equal(strlen(text), size);
}

static void test_read_at(void **state)
{
        _cleanup_fd_ int fd = open(folder, O_RDONLY | O_DIRECTORY);
        _cleanup_free_ char *text = NULL;

        assert_int_equal(file_write_atomic("file", "", 0, 0600), 0);
        assert_int_equal(file_read_at(fd, "file", 0, &text, NULL), 0);
        assert_string_equal(text, "");
}

static void test_write_fails_clean(void **state)
{
        glob_t found;
        char *text = NULL;

        assert_int_equal(file_write_atomic("absent/file", "x", 1, 0600), -ENOENT);
        assert_int_equal(dir_make("a", 0755), 0);
        assert_int_equal(file_write_atomic("a", "x", 1, 0600), -EISDIR);
        assert_int_equal(file_read("a", 1, &text, NULL), -EISDIR);
        assert_int_equal(rmdir("a"), 0);
        assert_int_equal(glob(".[!.]*", 0, NULL, &found), GLOB_NOMATCH); /* no temporary file stays */
}

static void test_dir_make(void **state)
{
        struct stat st;

        assert_int_equal(dir_make("a/b/c/", 0700), 0);
        assert_int_equal(dir_make("a/b/c", 0700), 0);
        assert_int_equal(stat("a/b/c", &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(file_write_atomic("file", "x", 1, 0600), 0);
        assert_int_equal(dir_make("file", 0700), -ENOTDIR);
        assert_int_equal(dir_make("file/x", 0700), -ENOTDIR);
}

static void test_log(void **state)
{
        static const struct {
                const char *invocation, *expected;
        } table[] = {
                {NULL, "tester: a\\x0ab\ntester: cannot: No such file or directory\n"},
                {"1234", "<6>a\\x0ab\n<3>cannot: No such file or directory\n"},
        };
        int keep = dup(STDERR_FILENO);

        log_set_name("tester");
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_fd_ int fd = open("log", O_RDWR | O_CREAT | O_TRUNC, 0600);
                _cleanup_free_ char *text = NULL;
                int r;

                if (table[i].invocation)
                        setenv("INVOCATION_ID", table[i].invocation, 1);
                else
                        unsetenv("INVOCATION_ID");
                dup2(fd, STDERR_FILENO);
                log_line(LOG_INFO, "a%sb", "\n");
                log_line(LOG_DEBUG, "not shown");
                r = log_errno(LOG_ERR, ENOENT, "cannot");
                dup2(keep, STDERR_FILENO);
                assert_int_equal(r, -ENOENT);
                assert_int_equal(file_read("log", 4096, &text, NULL), 0);
                assert_string_equal(text, table[i].expected);
        }
        close(keep);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_write_and_read),
                cmocka_unit_test(test_read_refuses),
                cmocka_unit_test(test_read_proc),
                cmocka_unit_test(test_read_at),
                cmocka_unit_test(test_write_fails_clean),
                cmocka_unit_test(test_dir_make),
                cmocka_unit_test(test_log),
        };

        return cmocka_run_group_tests(tests, enter, leave);
}
