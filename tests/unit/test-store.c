/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every store must do, on both databases. */
#include "tests/unit/store-fixture.h"

static void test_append(void **state)
{
        struct fixture *f = *state;
        struct made one, two, late, overlap, fork, wrong;
        struct chain_seal seal;

        make(&one, 1, 3, f->device.head);
        make(&two, 4, 3, one.seal.head);
        make(&late, 9, 1, one.seal.head);
        make(&overlap, 3, 4, one.hashes[1]);
        make(&fork, 1, 3, f->device.head);
        memset(fork.seal.head, 0xff, CHAIN_HASH_SIZE);
        make(&wrong, 4, 2, f->device.head);

        assert_int_equal(put(f, &two), -ESTALE);
        assert_int_equal(put(f, &one), 0);
        assert_int_equal(put(f, &one), -EALREADY);
        assert_int_equal(put(f, &late), -ESTALE);
        assert_int_equal(put(f, &overlap), -ESTALE);
        assert_int_equal(put(f, &fork), -EILSEQ);
        assert_int_equal(put(f, &wrong), -EILSEQ);
        assert_int_equal(next_of(f), 4);
        assert_int_equal(put(f, &two), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(next_of(f), 7);
        assert_int_equal(n_records(f), 6);
        assert_int_equal(store_seal_get(f->s, f->device.number, 5, &seal), 0);
        assert_int_equal(seal.first, 4);
        assert_memory_equal(seal.head, two.seal.head, CHAIN_HASH_SIZE);
        assert_int_equal(store_seal_get(f->s, f->device.number, 7, &seal), -ENOENT);
}

/* What was not committed is not there; a failed append takes nothing else of the group along. */
static void test_group(void **state)
{
        struct fixture *f = *state;
        struct made one, two;

        make(&one, 1, 3, f->device.head);
        assert_int_equal(put(f, &one), 0);
        reopen(f);
        assert_int_equal(next_of(f), 1);

        make(&two, 4, 3, one.seal.head);
        two.rows[2].body = NULL; /* NOT NULL fails at the third record */
        assert_int_equal(put(f, &one), 0);
        if (on_postgres) { /* only the commit sees it; then batches are tried one by one */
                assert_int_equal(put(f, &two), 0);
                assert_int_equal(store_commit(f->s), -EEXIST);
                assert_int_equal(next_of(f), 1);
                assert_int_equal(put(f, &one), 0);
        }
        assert_int_equal(put(f, &two), -EEXIST);
        assert_int_equal(store_commit(f->s), 0);
        reopen(f);
        assert_int_equal(next_of(f), 4);
        assert_int_equal(n_records(f), 3);
}

static void test_full(void **state)
{
        struct fixture *f = *state;
        static char body[16000];
        struct made m;
        const uint8_t *prev = f->device.head;
        uint64_t committed = 1;
        int r = 0;

        if (on_postgres)
                skip();
        assert_int_equal(db_script(store_db(f->s), "PRAGMA max_page_count = 200"), 0);
        memset(body, ' ', sizeof(body));
        for (unsigned i = 0; i < 100 && r == 0; i++) {
                make(&m, committed, RECORDS, prev);
                for (unsigned k = 0; k < RECORDS; k++) {
                        m.rows[k].body = body;
                        m.rows[k].body_size = sizeof(body);
                }
                r = put(f, &m);
                if (r == 0)
                        r = store_commit(f->s);
                else
                        (void)store_commit(f->s);
                if (r == 0) {
                        committed += RECORDS;
                        prev = f->device.head;
                        memcpy(f->device.head, m.seal.head, CHAIN_HASH_SIZE);
                }
        }
        assert_int_equal(r, -ENOSPC);
        assert_true(committed > 1);
        assert_int_equal(next_of(f), committed);
        assert_int_equal(n_records(f), committed - 1);
        assert_int_equal(db_script(store_db(f->s), "PRAGMA max_page_count = 100000"), 0);
        assert_int_equal(put(f, &m), 0);
        assert_int_equal(store_commit(f->s), 0);
}

static void test_enrol(void **state)
{
        struct fixture *f = *state;
        static const uint8_t twice[STORE_HASH_SIZE] = {7}, old[STORE_HASH_SIZE] = {8};
        uint8_t key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
        struct store_device d;

        device_key_new(key, secret);
        assert_int_equal(enrol(f, "ws-2", key, certificate), -EACCES); /* no such token */
        assert_int_equal(enrol(f, "ws-2", key, token), -EACCES); /* used up */
        assert_int_equal(enrol(f, "ws-1", f->public_key, token), 0); /* by whom it was used */
        assert_int_equal(store_token_add(f->s, old, 1, 1000), 0);
        assert_int_equal(enrol(f, "ws-2", key, old), -EACCES); /* expired */
        assert_int_equal(store_token_add(f->s, twice, 2, 5000), 0);
        assert_int_equal(enrol(f, "ws-1", key, twice), -EEXIST); /* takes no use of the token */
        assert_int_equal(store_device_retire(f->s, "ws-1", 2000), 0);
        assert_int_equal(store_device_retire(f->s, "ws-1", 2000), -ENOENT);
        assert_int_equal(enrol(f, "ws-1", key, twice), 0);
        assert_int_equal(store_device_get(f->s, f->device.id, &d), 0);
        assert_int_equal(d.retired_ms, 2000);
        assert_int_equal(enrol(f, "ws-3", f->public_key, token), -EACCES); /* retired: needs a new one */
        assert_int_equal(enrol(f, "ws-3", f->public_key, twice), 0);
        assert_int_equal(store_device_get(f->s, f->device.id, &d), 0);
        assert_int_equal(d.retired_ms, 0);
        assert_string_equal(d.name, "ws-3");
        assert_int_equal(store_commit(f->s), 0);
}

static void test_branch(void **state)
{
        struct fixture *f = *state;
        struct store_device by, old = f->device, d;
        struct made one, mine, others;
        uint8_t key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE], start[CHAIN_HASH_SIZE];
        char id[DEVICE_ID_MAX];
        struct store_branch b = {&old, &by, &others.seal, 3000};

        device_key_new(key, secret);
        device_id_format(key, id);
        assert_int_equal(store_token_add(f->s, certificate, 1, 5000), 0);
        assert_int_equal(enrol(f, "ws-2", key, certificate), 0);
        assert_int_equal(store_device_get(f->s, id, &by), 0);
        chain_start(f->public_key, start);
        make(&one, 1, 3, start);
        make(&mine, 4, 2, one.seal.head);
        make(&others, 4, 3, one.seal.head);
        assert_int_equal(put_at(f, &one, 2000), 0);
        assert_int_equal(store_has_batch(f->s, old.number, &one.seal), 1);
        assert_int_equal(store_has_batch(f->s, old.number, &mine.seal), 0);
        assert_int_equal(store_follows(f->s, &old, &others.seal), 1);
        assert_int_equal(store_device_get(f->s, old.id, &old), 0);
        assert_int_equal(store_branch(f->s, &b, &d), -EACCES); /* perhaps its own next records */
        assert_int_equal(put_at(f, &mine, 2000), 0);
        assert_int_equal(store_device_get(f->s, old.id, &old), 0);

        assert_int_equal(store_branch(f->s, &b, &d), 1);
        assert_int_equal(store_branch(f->s, &b, &d), 0);
        assert_int_equal(d.next_seq, 4);
        assert_memory_equal(d.head, one.seal.head, sizeof(d.head));
        assert_int_equal(d.retired_ms, 3000);
        assert_string_equal(d.name, "ws-1~2");
        assert_true(device_id_is_of(d.id, f->public_key));
        f->device = d;
        assert_int_equal(put_at(f, &others, 3000), 0);
        assert_int_equal(put_at(f, &others, 3000), -EALREADY);
        assert_int_equal(store_has_batch(f->s, d.number, &others.seal), 1);
        make(&others, 9, 1, start);
        assert_int_equal(store_follows(f->s, &old, &others.seal), 0);
        assert_int_equal(store_commit(f->s), 0);
}

static void test_search(void **state)
{
        struct fixture *f = *state;
        struct made m;
        const struct {
                struct store_filter filter;
                uint64_t expect[RECORDS + 1];
        } cases[] = {
                {{.limit = 6}, {6, 4, 3, 2, 1}},
                {{.limit = 2}, {6, 4}},
                {{.limit = 6, .channel = "signal"}, {4, 1}},
                {{.limit = 6, .channel = "' OR 1=1 --"}, {0}},
                {{.limit = 6, .user = "anna"}, {3, 1}},
                {{.limit = 6, .user = "anna", .channel = "whatsapp"}, {3}},
                {{.limit = 6, .device = "ws-1", .from_ms = 1002, .to_ms = 1004}, {3, 2}},
                {{.limit = 6, .device = "ws-9"}, {0}},
                {{.limit = 6, .program = "curl"}, {6, 4, 3, 2, 1}},
                {{.limit = 6,
                  .program = "/usr/bin/curl",
                  .class = "use",
                  .tier = "name",
                  .layer = "tls",
                  .outcome = "reset"},
                 {6, 4, 3, 2, 1}},
                {{.limit = 6, .program = "/opt/curl"}, {0}},
        };

        make(&m, 1, RECORDS, f->device.head);
        m.rows[4].kind = "coverage";
        m.rows[4].class = m.rows[4].channel = NULL;
        m.rows[2].time_ms = m.rows[1].time_ms; /* same time: by number */
        m.rows[2].time_ms++;
        assert_int_equal(put(f, &m), 0);
        assert_int_equal(store_commit(f->s), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct seen s = {0};
                struct store_cursor end;
                uint64_t n;
                bool exact, more;

                assert_int_equal(store_violations(f->s, &cases[i].filter, see, &s, &end, &more), 0);
                for (unsigned k = 0; k < s.n; k++)
                        assert_int_equal(s.seqs[k], cases[i].expect[k]);
                assert_int_equal(cases[i].expect[s.n < cases[i].filter.limit ? s.n : RECORDS], 0);
                assert_int_equal(store_count(f->s, &cases[i].filter, 5, &n, &exact), 0);
                assert_true(exact && n >= s.n);
                assert_int_equal(store_count(f->s, &cases[i].filter, 1, &n, &exact), 0);
                assert_true(n <= 1 && exact == (s.n <= 1));
        }
}

/* Pages of one row visit each once, newest first, rows of the same time included. */
static void test_pages(void **state)
{
        struct fixture *f = *state;
        struct store_filter filter = {.limit = 1};
        struct made m;
        uint64_t expect = RECORDS;

        make(&m, 1, RECORDS, f->device.head);
        for (unsigned i = 0; i < RECORDS; i++)
                m.rows[i].time_ms = 1000 + i / 3;
        assert_int_equal(put(f, &m), 0);
        assert_int_equal(store_commit(f->s), 0);
        for (;;) {
                struct seen s = {0};
                bool more;

                assert_int_equal(store_violations(f->s, &filter, see, &s, &filter.before, &more), 0);
                assert_true(more == (s.n == 1));
                if (s.n == 0)
                        break;
                assert_int_equal(s.seqs[0], expect--);
                filter.has_before = true;
        }
        assert_int_equal(expect, 0);
}

static int join(const char *value, void *userdata)
{
        strcat(userdata, value);
        strcat(userdata, " ");
        return 0;
}

static void test_facets(void **state)
{
        struct fixture *f = *state;
        static const char *const expect[] = {
                [FACET_CHANNEL] = "discord signal whatsapp ", [FACET_DEVICE] = "ws-1 ", [FACET_USER] = "anna "};
        static const char *const from[] = {[FACET_CHANNEL] = "e", [FACET_DEVICE] = "ws-2", [FACET_USER] = "annb"};
        struct made m;

        make(&m, 1, RECORDS, f->device.head);
        assert_int_equal(put(f, &m), 0);
        assert_int_equal(store_commit(f->s), 0);
        for (enum store_facet i = 0; i < _FACET_MAX; i++) {
                char text[128] = "";

                assert_int_equal(store_facet(f->s, i, "", join, text), 0);
                assert_string_equal(text, expect[i]);
                *text = 0;
                assert_int_equal(store_facet(f->s, i, from[i], join, text), 0);
                assert_string_equal(text, i == FACET_CHANNEL ? "signal whatsapp " : "");
        }
}

static int on_row(const struct store_row *row, void *userdata)
{
        snprintf((char *)userdata + strlen(userdata), 16, "%llu ", (unsigned long long)row->seq);
        return row->body && strcmp(row->kind, "violation") != 0 ? 0 : -EINVAL;
}

static int on_answer(const struct store_answer *a, void *userdata)
{
        sprintf((char *)userdata + strlen(userdata), "%llu %s %s ", (unsigned long long)a->seq, a->exemption ?: "-",
                a->reason);
        return 0;
}

static int on_part(const char *part, const char *json, void *userdata)
{
        sprintf((char *)userdata + strlen(userdata), "%s=%s ", part, json);
        return 0;
}

/* Requests newest first, their answers, coverage with the record before it, parts by the beginning of their names. */
static void test_requests(void **state)
{
        struct fixture *f = *state;
        struct store_answer a = {.device = f->device.number, .seq = 3, .time_ms = 9, .who = "dora", .reason = "no"};
        char text[256] = "";
        struct made m;

        make(&m, 1, RECORDS, f->device.head);
        for (size_t i = 0; i < RECORDS; i++)
                m.rows[i].kind = i == 2 || i == 4 ? "request" : "coverage";
        assert_int_equal(put_at(f, &m, 1000), 0);
        assert_int_equal(store_answer_add(f->s, &a), 0);
        a.exemption = "EX-1";
        assert_int_equal(store_answer_add(f->s, &a), 0);
        assert_int_equal(store_bundle_put(f->s, "exemption:b", "2"), 0);
        assert_int_equal(store_bundle_put(f->s, "exemption:a", "1"), 0);
        assert_int_equal(store_bundle_put(f->s, "exemptions", "3"), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_requests(f->s, 0, 10, on_row, text), 0);
        assert_int_equal(store_requests(f->s, 0, 1, on_row, text), 0);
        assert_int_equal(store_requests(f->s, 1004, 10, on_row, text), 0);
        assert_string_equal(text, "5 3 5 5 ");
        *text = 0;
        assert_int_equal(store_answers(f->s, 0, 10, on_answer, text), 0);
        assert_int_equal(store_answers(f->s, 10, 10, on_answer, text), 0);
        assert_string_equal(text, "3 EX-1 no ");
        *text = 0;
        assert_int_equal(store_coverage(f->s, f->device.number, &(struct store_span){1003, 1006}, on_row, text), 0);
        assert_string_equal(text, "2 4 ");
        *text = 0;
        assert_int_equal(store_coverage(f->s, f->device.number + 1, &(struct store_span){0, 9999}, on_row, text), 0);
        assert_int_equal(store_bundle_read(f->s, "exemption:", on_part, text), 0);
        assert_string_equal(text, "exemption:a=1 exemption:b=2 ");
}

static void test_people(void **state)
{
        struct fixture *f = *state;
        static const uint8_t hash[STORE_HASH_SIZE] = {9};
        struct store_session session;
        struct store_user u;

        assert_int_equal(store_user_set(f->s, &(struct store_user){"eve", "auditor", "x"}), 0);
        assert_int_equal(store_user_set(f->s, &(struct store_user){"eve", "admin", "y"}), 0);
        assert_int_equal(store_session_add(f->s, hash, "eve", 2000), 0);
        assert_int_equal(store_audit_add(f->s, &(struct store_audit){1, "eve", "login", NULL}), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_user_get(f->s, "eve", &u), 0);
        assert_string_equal(u.password, "y");
        assert_int_equal(store_user_get(f->s, "adam", &u), -ENOENT);
        assert_int_equal(store_session_get(f->s, hash, 1999, &session), 0);
        assert_string_equal(session.role, "admin");
        assert_int_equal(store_session_get(f->s, hash, 2000, &session), -ENOENT);
        assert_int_equal(store_tidy(f->s, 2000), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(store_session_get(f->s, hash, 1999, &session), -ENOENT);
        for (int i = 0; i < 2; i++) { /* a new password, or none any more */
                assert_int_equal(store_session_add(f->s, hash, "eve", 2000), 0);
                assert_int_equal(store_session_get(f->s, hash, 1, &session), 0);
                assert_int_equal(i == 0 ? store_user_set(f->s, &u) : store_user_remove(f->s, "eve"), 0);
                assert_int_equal(store_session_get(f->s, hash, 1, &session), -ENOENT);
        }
        assert_int_equal(store_user_get(f->s, "eve", &u), -ENOENT);
        assert_int_equal(store_user_remove(f->s, "eve"), -ENOENT);
}

static void test_versions(void **state)
{
        struct fixture *f = *state;
        struct store *again = NULL;
        struct diag d = {0};

        script(f->path, on_postgres ? "UPDATE schema_version SET version = 99" : "PRAGMA user_version = 99");
        assert_int_equal(store_open(f->path, STORE_MIGRATE, &again, &d), -EPROTONOSUPPORT);
        assert_null(again);
        assert_non_null(strstr(d.text, "newer"));
        script(f->path, on_postgres ? "UPDATE schema_version SET version = 1" : "PRAGMA user_version = 1");
        assert_int_equal(store_open(f->path, 0, &again, &d), -ENOPKG);
        assert_non_null(strstr(d.text, "migrate"));
        script(f->path, on_postgres ? "DROP SCHEMA public CASCADE; CREATE SCHEMA public" : "PRAGMA user_version = 0");
        assert_int_equal(store_open(f->path, 0, &again, &d), -ENOENT);
        assert_non_null(strstr(d.text, "init"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_append, setup, teardown),
                cmocka_unit_test_setup_teardown(test_group, setup, teardown),
                cmocka_unit_test_setup_teardown(test_full, setup, teardown),
                cmocka_unit_test_setup_teardown(test_enrol, setup, teardown),
                cmocka_unit_test_setup_teardown(test_branch, setup, teardown),
                cmocka_unit_test_setup_teardown(test_search, setup, teardown),
                cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
                cmocka_unit_test_setup_teardown(test_facets, setup, teardown),
                cmocka_unit_test_setup_teardown(test_people, setup, teardown),
                cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
                cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
        };

        return on_both(tests);
}
