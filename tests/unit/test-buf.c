/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

static void test_append(void **state)
{
        static const uint8_t expected[] = "ab1:x\x01\x02\x01\x02\x03\x04\x01\x02\x03\x04\x05\x06\x07\x08";
        _cleanup_buf_ struct buf b = {0};

        buf_add(&b, "a", 1);
        buf_add_string(&b, "b");
        buf_addf(&b, "%d:%s", 1, "x");
        buf_add_be16(&b, 0x0102);
        buf_add_be32(&b, 0x01020304);
        buf_add_be64(&b, 0x0102030405060708);
        assert_int_equal(buf_error(&b), 0);
        assert_int_equal(b.size, sizeof(expected) - 1);
        assert_memory_equal(b.data, expected, sizeof(expected));
}

static void test_growth(void **state)
{
        _cleanup_buf_ struct buf b = {0};

        for (unsigned i = 0; i < 10000; i++)
                buf_addf(&b, "%u,", i % 10);
        assert_int_equal(b.size, 20000);
        assert_string_equal((char *)b.data + 19990, "5,6,7,8,9,");
        buf_consume(&b, 19998);
        assert_string_equal((char *)b.data, "9,");
        buf_consume(&b, 3); /* more than there is: nothing happens */
        assert_int_equal(b.size, 2);
        buf_consume(&b, 2);
        assert_int_equal(b.size, 0);
        assert_int_equal(b.data[0], 0);
}

static void test_take(void **state)
{
        _cleanup_buf_ struct buf b = {0};
        char *s = buf_take(&b);

        assert_string_equal(s, "");
        free(s);
        buf_add_string(&b, "text");
        s = buf_take(&b);
        assert_string_equal(s, "text");
        free(s);
        assert_null(b.data);
        assert_int_equal(b.size, 0);
}

static void test_error_sticks(void **state)
{
        _cleanup_buf_ struct buf b = {0}, empty = {0};

        assert_null(buf_extend(&empty, SIZE_MAX - 9));
        assert_int_equal(buf_error(&empty), -EOVERFLOW);
        buf_add_string(&b, "kept");
        assert_null(buf_extend(&b, SIZE_MAX - 1));
        assert_int_equal(buf_error(&b), -EOVERFLOW);
        buf_add_string(&b, "no");
        buf_addf(&b, "%s", "no");
        buf_add_be32(&b, 1);
        assert_null(buf_extend(&b, 0));
        assert_int_equal(b.size, 4);
        assert_null(buf_take(&b));
        assert_int_equal(buf_error(&b), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_append),
                cmocka_unit_test(test_growth),
                cmocka_unit_test(test_take),
                cmocka_unit_test(test_error_sticks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
