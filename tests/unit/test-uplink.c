/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <jansson.h>

#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "spool/spool.h"

static char dir[64];

static char *in_dir(const char *name)
{
        char *path = format_new("%s/%s", dir, name);

        assert_non_null(path);
        return path;
}

static int setup(void **state)
{
        static const char *const folders[] = {"spool", "uplink", "incoming", "run"};

        strcpy(dir, "/tmp/test-uplink-XXXXXX");
        assert_non_null(mkdtemp(dir));
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = in_dir(folders[i]);

                assert_int_equal(mkdir(path, 0700), 0);
        }
        return 0;
}

static int teardown(void **state)
{
        _cleanup_free_ char *command = format_new("rm -rf %s", dir);

        return system(command);
}

static struct uplink_config config(void)
{
        _cleanup_free_ char *text = format_new("[agent]\ndevice = ws-1\nstate = %s\nruntime = %s/run\n"
                                               "[collector]\nurl = https://localhost:1/\n",
                                               dir, dir);
        struct uplink_config c = {0};

        assert_int_equal(uplink_config_parse(text, strlen(text), "agent.ini", &c, NULL), 0);
        return c;
}

static void test_config(void **state)
{
        static const struct {
                const char *text;
                int r;
                unsigned line;
                const char *url;
        } cases[] = {
                {"", 0, 0, NULL},
                {"[collector]\nurl = https://c.example:8443\n", 0, 0, "https://c.example:8443"},
                {"[collector]\nurl = https://c.example///\n", 0, 0, "https://c.example"},
                {"[collector]\nurl =\n", 0, 0, NULL},
                {"[agent]\ntable = x\nheartbeat = 5\n[protect]\nname = a\nname = b\n", 0, 0, NULL},
                {"[collector]\nurl = http://c.example\n", -EBADMSG, 2, NULL},
                {"[collector]\nurl = https://\n", -EBADMSG, 2, NULL},
                {"[collector]\nurl = https://c exa\n", -EBADMSG, 2, NULL},
                {"[collector]\nca = /a\nca = /b\n", -ENOTUNIQ, 3, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(uplink_config_done) struct uplink_config c = {0};
                struct diag diag = {0};

                assert_int_equal(uplink_config_parse(cases[i].text, strlen(cases[i].text), "a.ini", &c, &diag),
                                 cases[i].r);
                assert_int_equal(diag.line, cases[i].line);
                if (cases[i].r < 0)
                        continue;
                assert_string_equal(c.state, "/var/lib/onchannel");
                assert_string_equal(c.url ? c.url : "", cases[i].url ? cases[i].url : "");
                assert_non_null(c.device);
        }
}

static void test_backoff(void **state)
{
        uint64_t highest = 0;

        for (unsigned failures = 0; failures < 200; failures++)
                for (int i = 0; i < 20; i++) {
                        uint64_t bound = failures < 10 ? 1000ull << failures : BACKOFF_MAX_MS;
                        uint64_t delay = backoff_ms(failures);

                        assert_in_range(delay, 100, bound < BACKOFF_MAX_MS ? bound : BACKOFF_MAX_MS);
                        highest = delay > highest ? delay : highest;
                }
        assert_true(highest > BACKOFF_MAX_MS / 2);
}

static void test_job(void **state)
{
        struct job j = {.name = "test"};
        uint64_t now = clock_boottime_ms();

        /* a server's wish is a lower bound, however short the back-off is */
        j.response.retry_after_s = 50;
        job_failed(&j, "first");
        assert_true(j.due_ms >= now + 50000);
        assert_int_equal(j.failures, 1);
        uint64_t due = j.due_ms;
        job_kick(&j, 0); /* a failing job keeps its back-off */
        assert_int_equal(j.due_ms, due);

        job_succeeded(&j, 100000);
        assert_int_equal(j.failures, 0);
        assert_true(j.due_ms <= clock_boottime_ms()); /* what was wanted meanwhile */
        j.wanted_ms = 0;
        job_succeeded(&j, 100000);
        assert_true(j.due_ms >= now + 100000);
        job_kick(&j, 0);
        assert_true(j.due_ms <= clock_boottime_ms());
}

/* ---- reports, without a network ---- */

static struct spool *spool;
static uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];

static void open_spool(unsigned n)
{
        _cleanup_free_ char *path = in_dir("spool"), *public_path = in_dir("device.pub");
        char id[DEVICE_ID_MAX], hex[2 * DEVICE_KEY_SIZE + 1];

        device_key_new(public_key, secret);
        device_id_format(public_key, id);
        hex_encode(public_key, sizeof(public_key), hex);
        assert_int_equal(file_write_atomic(public_path, hex, strlen(hex), 0644), 0);
        assert_int_equal(spool_open(&(struct spool_options){.dir = path,
                                                            .device_id = id,
                                                            .group = -1,
                                                            .boot_id = "0b1c2d3e-0000-4000-8000-000000000001",
                                                            .public_key = public_key,
                                                            .secret = secret},
                                    &spool),
                         0);
        while (n-- > 0) {
                assert_int_equal(spool_append(spool, "{}", 2), 0);
                assert_int_equal(spool_seal(spool), 0);
        }
}

static char *content(const char *name)
{
        _cleanup_free_ char *path = in_dir(name);
        char *text = NULL;
        size_t size;

        return file_read(path, 4096, &text, &size) < 0 ? strdup("") : text;
}

static void answer(struct uplink *u, long status, const char *body)
{
        struct job *j = &u->jobs[JOB_REPORTS];

        response_done(&j->response);
        j->response.status = status;
        buf_add_string(&j->response.body, body);
        reports_done(u, j, CURLE_OK);
        response_done(&j->response);
}

static void test_reports(void **state)
{
        static const struct {
                long status;
                const char *body;
                uint64_t acknowledged; /* afterwards */
                const char *ack;
                bool backs_off, problem;
        } cases[] = {
                {200, "{\"next\":2}", 1, "1\n", false, false},
                {200, "{\"next\":4}", 3, "3\n", false, false},
                {200, "{\"next\":4}", 3, "3\n", true, false}, /* no progress: never a busy loop */
                {200, "{\"next\":0}", 3, "3\n", true, false},
                {200, "{\"next\":-5}", 3, "3\n", true, false},
                {200, "{\"next\":1e30}", 3, "3\n", true, false},
                {200, "{\"next\":\"9\"}", 3, "3\n", true, false},
                {200, "", 3, "3\n", true, false},
                {200, "<html>", 3, "3\n", true, false},
                {503, "{\"error\":\"busy\"}", 3, "3\n", true, false},
                {429, "{}", 3, "3\n", true, false},
                {413, "{\"max_bytes\":5}", 3, "3\n", true, true},
                {200, "{\"next\":5}", 4, "4\n", false, false}, /* the problem is gone */
                {409, "{\"error\":\"gap\",\"next\":2,\"head\":\"00\"}", 1, "4\n", false, false},
                {409, "{\"error\":\"fork\",\"next\":2,\"head\":\"00\"}", 1, "4\n", true, true},
                {200, "{\"next\":3}", 2, "2\n", false, false},
                {409, "{\"error\":\"fork\",\"next\":3}", 2, "2\n", true, true},
                {409, "{\"error\":\"?\"}", 2, "2\n", true, true},
                {507, "{\"error\":\"store full\"}", 2, "2\n", true, true},
        };
        struct uplink u = {.config = config()};
        struct job *j = &u.jobs[JOB_REPORTS];

        assert_int_equal(uplink_init(&u), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *ack = NULL, *problem = NULL;
                uint64_t now = clock_boottime_ms();

                j->failures = 0;
                answer(&u, cases[i].status, cases[i].body);
                ack = content("uplink/ack");
                problem = content("uplink/problem");
                assert_int_equal(u.own.acknowledged, cases[i].acknowledged);
                assert_string_equal(ack, cases[i].ack);
                assert_int_equal(j->failures > 0, cases[i].backs_off);
                assert_int_equal(j->due_ms >= now + 100, cases[i].backs_off);
                assert_int_equal(*problem != '\0', cases[i].problem);
        }
        uplink_done(&u);
}

static void test_reports_start(void **state)
{
        struct uplink u = {.config = config()};
        struct job *j = &u.jobs[JOB_REPORTS];
        _cleanup_free_ char *ack = in_dir("uplink/ack");

        assert_int_equal(file_write_atomic(ack, "2\n", 2, 0644), 0);
        assert_int_equal(uplink_init(&u), 0);
        assert_int_equal(u.own.acknowledged, 2);
        assert_int_equal(reports_start(&u, j), -ENOENT); /* no device.pub yet */
        open_spool(3);
        assert_int_equal(reports_start(&u, j), 0);
        assert_non_null(j->easy); /* record 3 is on its way */
        curl_multi_remove_handle(u.multi, j->easy);
        job_finish(j);

        u.own.acknowledged = 3; /* nothing new: idle until inotify or a minute later */
        assert_int_equal(reports_start(&u, j), 0);
        assert_null(j->easy);
        assert_int_equal(j->failures, 0);
        assert_true(j->due_ms > clock_boottime_ms() + 1000);

        u.own.acknowledged = 9; /* the collector says it has more than there ever was */
        assert_int_equal(reports_start(&u, j), 0);
        assert_int_equal(j->failures, 1);
        _cleanup_free_ char *problem = content("uplink/problem");
        assert_non_null(strstr(problem, "put back from a copy"));
        uplink_done(&u);
        spool_free(spool);
}

static void test_policy_store(void **state)
{
        static const struct {
                const char *json;
                int r;
                const char *policy, *minisig, *catalogue; /* in the folder afterwards */
        } cases[] = {
                {"{}", 0, "", "", ""},
                {"{\"policy\":{\"file\":\"P1\",\"minisig\":\"S1\"}}", 0, "P1", "S1", ""},
                {"{\"policy\":{\"file\":\"P2\",\"minisig\":\"S2\"},\"catalogue\":{\"file\":\"C\",\"minisig\":\"D\"}}",
                 0, "P2", "S2", "C"},
                {"{\"policy\":{\"file\":\"P3\"}}", -EBADMSG, "P2", "S2", "C"},
                {"{\"policy\":{\"file\":5,\"minisig\":\"S\"}}", -EBADMSG, "P2", "S2", "C"},
                {"{\"policy\":\"x\"}", -EBADMSG, "P2", "S2", "C"},
                {"[]", -EBADMSG, "P2", "S2", "C"},
                {"", -EBADMSG, "P2", "S2", "C"},
        };
        _cleanup_(uplink_config_done) struct uplink_config c = config();

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(policy_store(&c, cases[i].json, strlen(cases[i].json)), cases[i].r);
                _cleanup_free_ char *policy = content("incoming/policy.ini");
                _cleanup_free_ char *minisig = content("incoming/policy.ini.minisig");
                _cleanup_free_ char *catalogue = content("incoming/catalogue.ini");
                assert_string_equal(policy, cases[i].policy);
                assert_string_equal(minisig, cases[i].minisig);
                assert_string_equal(catalogue, cases[i].catalogue);
        }

        _cleanup_free_ char *huge = malloc(UPLINK_POLICY_MAX + 2), *json = NULL;
        memset(huge, 'x', UPLINK_POLICY_MAX + 1);
        huge[UPLINK_POLICY_MAX + 1] = '\0';
        json = format_new("{\"policy\":{\"file\":\"%s\",\"minisig\":\"S\"}}", huge);
        assert_int_equal(policy_store(&c, json, strlen(json)), -EFBIG);
        huge[UPLINK_MINISIG_MAX + 1] = '\0';
        freep(&json);
        json = format_new("{\"policy\":{\"file\":\"P\",\"minisig\":\"%s\"}}", huge);
        assert_int_equal(policy_store(&c, json, strlen(json)), -EFBIG);
}

static size_t count_files(const char *folder)
{
        DIR *d = opendir(folder);
        size_t n = 0;

        for (const struct dirent *e; d && (e = readdir(d));)
                n += e->d_name[0] != '.';
        if (d)
                closedir(d);
        return n;
}

/* Exemptions come as a whole list: what it lacks goes, what others put there stays. */
static void test_lists(void **state)
{
        static const struct {
                const char *json;
                int r;
                size_t files;
        } table[] = {
                {"{\"exemptions\":[{\"file\":\"A\",\"minisig\":\"S\"},{\"file\":\"B\",\"minisig\":\"T\"}]}", 0, 5},
                {"{}", 0, 5},
                {"{\"exemptions\":[{\"file\":\"B\",\"minisig\":\"T\"}]}", 0, 3},
                {"{\"exemptions\":[{\"file\":\"B\",\"minisig\":\"U\"}]}", 0, 3},
                {"{\"exemptions\":[{\"file\":\"B\"}]}", -EBADMSG, 3},
                {"{\"exemptions\":{}}", -EBADMSG, 3},
                {"{\"exemptions\":[]}", 0, 1},
        };
        const struct uplink_config c = {.state = dir};
        _cleanup_free_ char *folder = in_dir("incoming/exemptions"), *large = NULL, *huge = NULL;
        _cleanup_free_ char *theirs = in_dir("incoming/exemptions/theirs.ini");

        assert_int_equal(dir_make(folder, 0700), 0);
        assert_int_equal(file_write_atomic(theirs, "x", 1, 0600), 0);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert_int_equal(policy_store(&c, table[i].json, strlen(table[i].json)), table[i].r);
                assert_int_equal(count_files(folder), table[i].files);
        }
        huge = calloc(1, UPLINK_EXEMPTION_MAX + 2);
        memset(huge, 'x', UPLINK_EXEMPTION_MAX + 1);
        large = format_new("{\"exemptions\":[{\"file\":\"%s\",\"minisig\":\"S\"}]}", huge);
        assert_int_equal(policy_store(&c, large, strlen(large)), -EFBIG);
        assert_int_equal(count_files(folder), 1);
}

/* Between 61.7 and 71.7 hundredths of the life, and not all at once. */
static void test_renew_due(void **state)
{
        assert_int_equal(renew_due(0, 3000000, 0), 2000000 - 150000);
        assert_int_equal(renew_due(0, 3000000, UINT16_MAX), 2000000 + 150000);
        assert_in_range(renew_due(1000, 3001000, UINT16_MAX / 2), 2000990, 2001010);
        assert_int_equal(renew_due(50, 53, 9), 52);
}

static void test_enrol(void **state)
{
        _cleanup_free_ char *key = NULL, *other = NULL, *csr = NULL, *request = NULL, *text = NULL;
        const char *token, *sent_csr, *device_key, *proof, *name;
        uint8_t signature[CHAIN_SIGNATURE_SIZE];
        char id[DEVICE_ID_MAX], hex[2 * DEVICE_KEY_SIZE + 1];

        device_key_new(public_key, secret);
        device_id_format(public_key, id);
        assert_int_equal(csr_new(id, &key, &csr), 0);
        assert_non_null(strstr(key, "BEGIN PRIVATE KEY"));
        assert_non_null(strstr(csr, "BEGIN CERTIFICATE REQUEST"));
        assert_int_equal(enrol_request_new(secret, "T", "ws-1", csr, &request), 0);

        json_auto_t *root = json_loads(request, 0, NULL);
        assert_int_equal(json_unpack_ex(root, NULL, JSON_STRICT, "{s:s,s:s,s:s,s:s,s:s}", "token", &token, "csr",
                                        &sent_csr, "device_key", &device_key, "proof", &proof, "name", &name),
                         0);
        hex_encode(public_key, sizeof(public_key), hex);
        assert_string_equal(device_key, hex);
        assert_string_equal(sent_csr, csr);
        assert_int_equal(hex_decode(proof, signature, sizeof(signature)), 0);
        text = format_new("onchannel-enrol/v1\n%s", csr);
        assert_int_equal(crypto_sign_verify_detached(signature, (uint8_t *)text, strlen(text), public_key), 0);

        assert_int_equal(certificate_check("", "", key, id), -EBADMSG);
        assert_int_equal(certificate_check(csr, csr, key, id), -EBADMSG);
}

static void test_response_error(void **state)
{
        static const struct {
                CURLcode code;
                long status;
                const char *body, *text;
        } cases[] = {
                {CURLE_OK, 403, "{\"error\":\"the token is used up\"}",
                 "the collector answers 403: the token is used up"},
                {CURLE_OK, 500, "<html>", "the collector answers 500"},
                {CURLE_OK, 500, "", "the collector answers 500"},
                {CURLE_OK, 400, "{\"error\":\"a\\u001b[2Jb\"}", "the collector answers 400: a\\x1b[2Jb"},
                {CURLE_COULDNT_CONNECT, 0, "", "Couldn't connect to server"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(response_done) struct response r = {.status = cases[i].status};
                char buf[UPLINK_ERROR_MAX];

                buf_add_string(&r.body, cases[i].body);
                assert_string_equal(response_error(&r, cases[i].code, buf), cases[i].text);
        }
}

int main(void)
{
#define UPLINK_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_config),    cmocka_unit_test(test_backoff),
                cmocka_unit_test(test_job),       UPLINK_TEST(test_reports),
                UPLINK_TEST(test_reports_start),  UPLINK_TEST(test_policy_store),
                UPLINK_TEST(test_lists),          cmocka_unit_test(test_enrol),
                cmocka_unit_test(test_renew_due), cmocka_unit_test(test_response_error),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
