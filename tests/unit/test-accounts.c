/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "agent/state/accounts.h"

static char *users[] = {(char *)"root", (char *)"no-such-user", (char *)"root", NULL};
static char *groups[] = {(char *)"root", (char *)"no-such-group", NULL};

/* Whose primary group it is is a member, though the group lists nobody. */
static void test_resolve(void **state)
{
        struct accounts_names names = {0};
        struct accounts_answer *a = NULL;
        const uid_t met[] = {0, 4000000000u};
        bool is_member = false;

        assert_int_equal(accounts_names_add(&names, users, groups), 0);
        assert_int_equal(names.n_users, 2);
        assert_int_equal(accounts_resolve(&names, met, 2, &a), 0);
        assert_int_equal(names.n_users, 0);
        assert_int_equal(a->n_users, 1);
        assert_string_equal(a->users[0].name, "root");
        assert_int_equal(a->users[0].uid, 0);
        for (size_t i = 0; i < a->n_members; i++) {
                assert_string_equal(a->members[i].unixgroup, "root");
                is_member |= a->members[i].uid == 0;
        }
        assert_true(is_member);
        for (size_t i = 1; i < a->n_members; i++)
                assert_true(a->members[i - 1].uid < a->members[i].uid);
        accounts_answer_free(a);
}

static void test_nothing_asked(void **state)
{
        struct accounts_names names = {0};
        struct accounts_answer *a = NULL;

        assert_int_equal(accounts_resolve(&names, NULL, 0, &a), 0);
        assert_int_equal(a->n_users + a->n_members, 0);
        accounts_answer_free(a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_resolve), cmocka_unit_test(test_nothing_asked)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
