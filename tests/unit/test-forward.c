/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is sent in which form, how answers are judged, and the places of destinations on both databases. */
#include "base/version.h"
#include "collector/forward/private.h"
#include "tests/unit/store-fixture.h"

static const struct store_row row = {
        .device = "d-a",
        .device_name = "ws-1",
        .seq = 7,
        .time_ms = 1790000000042,
        .kind = "violation",
        .channel = "whatsapp",
        .channel_name = "Whats|App\\",
        .class = "use",
        .tier = "name",
        .layer = "dns",
        .outcome = "dropped",
        .verdict = "block",
        .user = "a=\\b\nc",
        .uid = 1000,
        .program = "/usr/bin/curl",
        .remote = "2001:db8::1",
        .port = 443,
        .count = 3,
        .policy_serial = 42,
        .entry = "suffix x",
        .body = "{\"a\":1}",
        .body_size = 7,
};

#define CEF                                                                                                          \
        "CEF:0|onchannel|onchannel|%s|use|Whats\\|App\\\\|6|rt=1790000000042 cnt=3 "                                 \
        "externalId=d-a:7 shost=ws-1 suser=a\\=\\\\b c suid=1000 sproc=/usr/bin/curl c6a3=2001:db8::1 "              \
        "c6a3Label=Destination IPv6 Address dpt=443 act=dropped cs1Label=channel cs1=whatsapp cs2Label=class "       \
        "cs2=use cs3Label=evidence tier cs3=name cs4Label=layer cs4=dns cs5Label=catalogue entry cs5=suffix x "      \
        "cn1Label=policy serial cn1=42"
#define SYSLOG "<108>1 2026-09-21T14:13:20.042Z ws-1 onchannel - violation [meta sequenceId=\"7\"] "

static void test_forms(void **state)
{
        _cleanup_free_ char *cef = format_new(SYSLOG CEF, onchannel_version);
        const struct {
                enum forward_form form;
                const char *want;
                bool counted;
        } cases[] = {
                {FORWARD_HEC,
                 "{\"time\":1790000000.042,\"host\":\"ws-1\",\"source\":\"onchannel\",\"sourcetype\":\"onchannel:"
                 "ocsf\","
                 "\"event\":{\"a\":1}}\n",
                 false},
                {FORWARD_ELASTIC, "{\"create\":{\"_id\":\"d-a:7\"}}\n{\"a\":1}\n", false},
                {FORWARD_NDJSON, "{\"a\":1}\n", false},
                {FORWARD_SYSLOG, SYSLOG "{\"a\":1}", true},
                {FORWARD_CEF, cef, true},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ struct buf b = {0};
                char count[32] = "";

                if (cases[i].counted)
                        snprintf(count, sizeof(count), "%zu ", strlen(cases[i].want));
                form_add(cases[i].form, &row, &b);
                assert_memory_equal(b.data, count, strlen(count));
                assert_string_equal((const char *)b.data + strlen(count), cases[i].want);
        }
}

static void test_judge(void **state)
{
        static const struct {
                enum forward_form form;
                long status;
                const char *body;
                int want;
                unsigned refused;
                const char *problem; /* begins with */
        } cases[] = {
                {FORWARD_HEC, 200, "{\"text\":\"Success\",\"code\":0}", 0, 0, ""},
                {FORWARD_HEC, 400, "{\"text\":\"Invalid data format\",\"code\":6}", -EBADMSG, 0,
                 "the receiver answers 400: Inv"},
                {FORWARD_HEC, 400, "{\"text\":\"Incorrect index\",\"code\":7}", -EAGAIN, 0,
                 "the receiver answers 400: Inc"},
                {FORWARD_HEC, 413, "", -EBADMSG, 0, "the receiver answers 413"},
                {FORWARD_HEC, 503, "{\"text\":\"\\u001b[2J\"}", -EAGAIN, 0, "the receiver answers 503: \\x1b"},
                {FORWARD_NDJSON, 204, "", 0, 0, ""},
                {FORWARD_NDJSON, 422, "no JSON", -EBADMSG, 0, "the receiver answers 422"},
                {FORWARD_NDJSON, 404, "", -EAGAIN, 0, "the receiver answers 404"},
                {FORWARD_ELASTIC, 200, "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}}]}", 0, 0, ""},
                {FORWARD_ELASTIC, 200, "{\"items\":[{\"create\":{\"status\":409}},{\"create\":{\"status\":400}}]}", 0,
                 1, "1 doc"},
                {FORWARD_ELASTIC, 200, "{\"items\":[{\"create\":{\"status\":400}},{\"create\":{\"status\":429}}]}",
                 -EAGAIN, 0, "doc"},
                {FORWARD_ELASTIC, 200, "{\"items\":[{}]}", -EAGAIN, 0, "documents are answered 0"},
                {FORWARD_ELASTIC, 200, "<html>", -EAGAIN, 0, "the answer is not that of a bulk call"},
                {FORWARD_ELASTIC, 400, "{\"error\":{\"reason\":\"bad index\"}}", -EAGAIN, 0,
                 "the receiver answers 400: bad index"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const struct form_answer a = {cases[i].form, cases[i].status, cases[i].body, strlen(cases[i].body)};
                char problem[FORWARD_PROBLEM_MAX];
                unsigned refused;

                assert_int_equal(form_judge(&a, &refused, problem), cases[i].want);
                assert_int_equal(refused, cases[i].refused);
                assert_memory_equal(problem, cases[i].problem, strlen(cases[i].problem));
                if (!*cases[i].problem)
                        assert_string_equal(problem, "");
        }
}

static int places(struct fixture *f, struct forward_place *ret)
{
        return forward_places(store_db(f->s), "a", 0, ret, 4);
}

static void test_places(void **state)
{
        struct fixture *f = *state;
        struct db *db = store_db(f->s);
        struct forward_state add = {
                .name = "a", .sent = 2, .refused = 1, .sent_ms = 5, .problem = "x", .problem_ms = 6};
        struct forward_state have;
        struct forward_place p[4];
        struct seen s = {0};
        struct made m;

        assert_int_equal(places(f, p), 0);
        make(&m, 1, RECORDS, f->device.head);
        assert_int_equal(put(f, &m), 0);
        assert_int_equal(store_commit(f->s), 0);
        assert_int_equal(places(f, p), 1);
        assert_int_equal(p[0].next, 1);
        assert_int_equal(p[0].end, RECORDS + 1);
        assert_int_equal(forward_rows(db, &p[0], 3, see, &s), 0);
        assert_int_equal(s.n, 3);
        p[0].next = 4;
        assert_int_equal(forward_move(db, "a", &p[0]), 0);
        assert_int_equal(forward_move(db, "b", &p[0]), 0);
        add.sent_ms = 0;
        assert_int_equal(forward_state_put(db, &add), 0);
        add.sent_ms = 9;
        add.problem[0] = 0;
        assert_int_equal(forward_state_put(db, &add), 0);
        assert_int_equal(db_commit(db), 0);
        assert_int_equal(places(f, p), 1);
        assert_int_equal(p[0].next, 4);
        s.n = 0;
        assert_int_equal(forward_rows(db, &p[0], 100, see, &s), 0);
        assert_int_equal(s.n, 3);
        assert_int_equal(s.seqs[0], 4);
        assert_int_equal(forward_state_get(db, "a", &have), 0);
        assert_int_equal(have.sent, 4);
        assert_int_equal(have.refused, 2);
        assert_int_equal(have.sent_ms, 9);
        assert_int_equal(have.behind, 3);
        assert_string_equal(have.problem, "");
        assert_int_equal(forward_state_get(db, "c", &have), 0);
        assert_int_equal(have.behind, RECORDS);
        assert_int_equal(forward_places(db, "a", p[0].device, p, 4), 0);
}

static void test_lock(void **state)
{
        struct fixture *f = *state;
        _cleanup_(db_freep) struct db *other = NULL;

        if (!on_postgres)
                skip();
        assert_int_equal(db_open(f->path, 0, &other, NULL), 0);
        assert_int_equal(forward_lock(store_db(f->s), "a"), 1);
        assert_int_equal(forward_lock(other, "a"), 0);
        assert_int_equal(forward_lock(other, "b"), 1);
        store_free(f->s);
        f->s = NULL;
        while (forward_lock(other, "a") == 0) /* the server hears of it a moment later */
                ;
}

int main(void)
{
        const struct CMUnitTest pure[] = {
                cmocka_unit_test(test_forms),
                cmocka_unit_test(test_judge),
        };
        const struct CMUnitTest stored[] = {
                cmocka_unit_test_setup_teardown(test_places, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
        };

        return cmocka_run_group_tests(pure, NULL, NULL) + on_both(stored);
}
