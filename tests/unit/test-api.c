/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The calls of ARCHITECTURE.md, "Agent and collector", and of the page against a real server over TLS. */
#include "tests/unit/api-fixture.h"

static void test_enrol(void **state)
{
        _cleanup_(client_device_done) struct client_device one, two, thief;
        _cleanup_(reply_done) struct reply r = {0};
        uint8_t other_secret[DEVICE_SECRET_SIZE], other_public[DEVICE_KEY_SIZE];

        client_device_init(&one, "enrol-1");
        client_device_init(&two, "enrol-1");
        client_device_init(&thief, "enrol-3");
        assert_int_equal(enrol(&one, "wrong", &r), 403);
        assert_int_equal(enrol(&one, "once", &r), 200);
        assert_non_null(strstr(json_string_value(json_object_get(r.json, "ca")), "BEGIN CERTIFICATE"));
        assert_int_equal(enrol(&one, "once", &r), 200); /* a lost answer */
        assert_int_equal(enrol(&two, "once", &r), 403); /* used up */
        assert_int_equal(enrol(&two, "often", &r), 409); /* the name is another's */

        /* a key that is not the caller's */
        device_key_new(other_public, other_secret);
        memcpy(thief.secret, other_secret, sizeof(other_secret));
        enrol(&thief, "often", &r);
        assert_error(&r, 400, "proof");

        strcpy(thief.name, "a b");
        enrol(&thief, "often", &r);
        assert_error(&r, 400, "name");
        free(thief.csr);
        thief.csr = strdup("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
        strcpy(thief.name, "x");
        device_key_new(thief.public_key, thief.secret);
        enrol(&thief, "often", &r);
        assert_error(&r, 400, "csr");
        assert_int_equal(stored("SELECT count(*) FROM device WHERE name IN ('x', 'a b', 'enrol-3')"), 0);
}

static void test_reports(void **state)
{
        _cleanup_(client_device_done) struct client_device a, b;
        _cleanup_(reply_done) struct reply r = {0};
        _cleanup_buf_ struct buf one = {0}, two = {0}, three = {0}, fork = {0};
        struct client_device before;

        device_new(&a, "reports-a");
        device_new(&b, "reports-b");
        before = a;
        client_batch(&a, 10, T0, &one);
        client_batch(&a, 5, T0 + 1000, &two);
        client_batch(&a, 5, T0 + 2000, &three);
        client_batch(&before, 10, T0 + 77, &fork);

        assert_int_equal(send_text(&a, &two, &r), 409);
        assert_int_equal(number_of(&r, "next"), 1);
        assert_int_equal(send_text(&a, &one, &r), 200);
        assert_int_equal(number_of(&r, "next"), 11);
        assert_int_equal(send_text(&a, &one, &r), 200); /* a lost acknowledgement */
        assert_int_equal(number_of(&r, "next"), 11);
        assert_int_equal(send_text(&a, &three, &r), 409);
        assert_int_equal(number_of(&r, "next"), 11);
        assert_int_equal(strlen(json_string_value(json_object_get(r.json, "head"))), 64);
        send_text(&a, &fork, &r);
        assert_error(&r, 409, "fork");
        send_text(&b, &two, &r);
        assert_error(&r, 403, "another device");
        send_text(NULL, &two, &r);
        assert_error(&r, 401, "certificate");
        assert_int_equal(send_text(&a, &two, &r), 200);
        assert_int_equal(send_text(&a, &three, &r), 200);
        assert_int_equal(number_of(&r, "next"), 21);
        assert_int_equal(stored("SELECT count(*) FROM record r JOIN device d ON d.number = r.device"
                                " WHERE d.name = 'reports-a'"),
                         20);
}

static void test_branch(void **state)
{
        _cleanup_(client_device_done) struct client_device a, b, c;
        _cleanup_(reply_done) struct reply r = {0};
        _cleanup_buf_ struct buf one = {0}, mine = {0}, other = {0}, next = {0}, last = {0};
        const struct buf *const others[] = {&other, &next};
        struct client_device clone, stranger;

        device_new(&a, "branch-a");
        device_new(&b, "branch-b");
        device_new(&c, "branch-c");
        client_batch(&a, 4, T0, &one);
        assert_int_equal(send_text(&a, &one, &r), 200);
        clone = a;
        client_batch(&a, 3, T0 + 1000, &mine);
        client_batch(&clone, 2, T0 + 2000, &other);
        client_batch(&clone, 5, T0 + 3000, &next);
        assert_int_equal(send_text(&b, &one, &r), 200); /* they are here */
        assert_int_equal(number_of(&r, "next"), 5);
        send_text(&b, &other, &r); /* perhaps a's own next ones */
        assert_error(&r, 403, "another device");
        assert_int_equal(send_text(&a, &mine, &r), 200);
        for (int again = 0; again < 2; again++)
                for (int i = 0; i < 2; i++) {
                        assert_int_equal(send_text(&b, others[i], &r), 200);
                        assert_int_equal(number_of(&r, "next"), i == 0 ? 7 : 12);
                }
        assert_int_equal(stored("SELECT count(*) FROM record r JOIN device d ON d.number = r.device"
                                " WHERE d.name = 'branch-a~2' AND d.id LIKE 'd-%~2' AND d.retired_ms IS NOT NULL"),
                         7);
        assert_int_equal(stored("SELECT count(*) FROM record r JOIN device d ON d.number = r.device"
                                " WHERE d.name = 'branch-a'"),
                         7);
        assert_int_equal(stored("SELECT count(*) FROM admin_audit WHERE action = 'branch'"), 1);
        assert_int_equal(stored("SELECT count(*) FROM finding f JOIN device d ON d.id = f.device"
                                " WHERE f.kind = 'chain-fork' AND d.name = 'branch-a' AND f.place = 5"),
                         1);

        assert_int_equal(send_text(&c, &next, &r), 200); /* a third copy, of which the beginning is not here */
        assert_int_equal(stored("SELECT count(*) FROM device WHERE name = 'branch-a~3' AND branch_first = 7"), 1);
        assert_int_equal(stored("SELECT count(*) FROM finding WHERE kind = 'chain-gap' AND device LIKE '%~3'"), 1);

        stranger = clone; /* says that it is a, without its key */
        device_key_new(stranger.public_key, stranger.secret);
        client_batch(&stranger, 1, T0, &last);
        send_text(&b, &last, &r);
        assert_error(&r, 400, "signature");
}

static void replace(struct buf *text, const char *from, const char *to)
{
        char *at = strstr((char *)text->data, from);

        DEMAND(at && strlen(from) == strlen(to));
        memcpy(at, to, strlen(to));
}

/* A batch of one whose record is what the test says, chained and signed as it should be. */
static void batch_of(struct client_device *d, const char *record, struct buf *ret)
{
        struct batch b = {.seal = {.first = d->next, .n = 1}};
        _cleanup_free_ char *header = NULL;
        uint8_t salt[CHAIN_SALT_SIZE] = {0};
        size_t size;

        memcpy(b.device, d->id, sizeof(b.device));
        strcpy(b.boot, "1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        memcpy(b.seal.prev, d->head, sizeof(d->head));
        chain_next(d->id, d->next, d->head, salt, record, strlen(record), b.seal.head);
        chain_seal_sign(&b.seal, d->id, d->secret);
        b.salts = salt;
        DEMAND(batch_header_encode(&b, &header, &size) == 0);
        buf_add(ret, header, size);
        buf_addf(ret, "%s\n", record);
}

static void test_malformed(void **state)
{
        static const struct {
                const char *record, *wrong;
        } cases[] = {
                {"{\"metadata\":{}}", "line 2: metadata.uid"},
                {"not json", "line 2"},
                {"{\"a\":1,\"a\":2}", "line 2: duplicate"},
        };
        _cleanup_(client_device_done) struct client_device a;
        _cleanup_(reply_done) struct reply r = {0};
        _cleanup_buf_ struct buf good = {0}, bad = {0};
        struct request q;
        char *sig;

        device_new(&a, "malformed");
        q = agents_request("/v1/reports", &a);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buf_ struct buf text = {0};

                batch_of(&a, cases[i].record, &text);
                send_text(&a, &text, &r);
                assert_error(&r, 400, cases[i].wrong);
        }
        client_batch(&a, 3, T0, &good);
        buf_add(&bad, good.data, good.size);
        replace(&bad, "192.0.2.7", "192.0.2.8"); /* no longer what was signed */
        send_text(&a, &bad, &r);
        assert_error(&r, 400, "head");
        buf_done(&bad);
        buf_add(&bad, good.data, good.size);
        sig = strstr((char *)bad.data, "\"sig\":\"") + 7;
        *sig = *sig == '0' ? '1' : '0';
        send_text(&a, &bad, &r);
        assert_error(&r, 400, "signature");
        buf_done(&bad);
        buf_add(&bad, good.data, good.size - 1);
        send_text(&a, &bad, &r);
        assert_error(&r, 400, "line 4");

        q.body = "hello";
        q.size = 5;
        client_do(curl, q, &r);
        assert_error(&r, 400, "Content-Type");
        q.headers[0] = "Content-Type: application/x-ndjson";
        q.headers[1] = "Content-Encoding: zstd";
        client_do(curl, q, &r);
        assert_error(&r, 400, "zstd");

        assert_int_equal(stored("SELECT count(*) FROM record r JOIN device d ON d.number = r.device"
                                " WHERE d.name = 'malformed'"),
                         0);
        assert_int_equal(send_text(&a, &good, &r), 200);
}

static void test_too_large(void **state)
{
        _cleanup_(client_device_done) struct client_device a;
        _cleanup_(reply_done) struct reply r = {0};
        _cleanup_buf_ struct buf text = {0};

        device_new(&a, "too-large");
        DEMAND(buf_extend(&text, BATCH_MAX_BYTES + 1));
        memset(text.data, ' ', text.size);
        assert_int_equal(send_text(&a, &text, &r), 413);
        assert_int_equal(number_of(&r, "max_bytes"), BATCH_MAX_BYTES);
}

/* The seconds run while the request waits: it must not be answered before the policy is there. */
static void test_policy(void **state)
{
        _cleanup_(client_device_done) struct client_device a;
        _cleanup_(reply_done) struct reply r = {0};
        char header[160];
        struct request q;
        CURLM *multi = curl_multi_init();
        CURL *waiting = curl_easy_init();
        int running = 1;

        device_new(&a, "policy");
        policy_put("serial = 1\n");
        do /* until inotify has told the server */
                assert_int_equal(client_do(curl, agents_request("/v1/policy", &a), &r), 200);
        while (!json_object_get(r.json, "policy"));
        assert_string_equal(json_string_value(json_object_get(json_object_get(r.json, "policy"), "file")),
                            "serial = 1\n");
        snprintf(header, sizeof(header), "If-None-Match: %s", r.etag);

        q = agents_request("/v1/policy", &a);
        q.headers[0] = header;
        assert_int_equal(client_do(curl, q, &r), 304);
        q = agents_request("/v1/policy?wait=1", &a);
        q.headers[0] = header;
        assert_int_equal(client_do(curl, q, &r), 304);
        client_do(curl, agents_request("/v1/policy?wait=301", &a), &r);
        assert_error(&r, 400, "wait");

        reply_done(&r);
        q = agents_request("/v1/policy?wait=20", &a);
        q.headers[0] = header;
        client_prepare(waiting, &q, &r);
        curl_multi_add_handle(multi, waiting);
        for (int i = 0; i < 5; i++) {
                curl_multi_perform(multi, &running);
                assert_int_equal(running, 1);
                curl_multi_poll(multi, NULL, 0, 100, NULL);
        }
        policy_put("serial = 2\n");
        while (running) {
                curl_multi_perform(multi, &running);
                curl_multi_poll(multi, NULL, 0, 100, NULL);
        }
        client_finish(waiting, &q, &r);
        assert_int_equal(r.status, 200);
        assert_string_equal(json_string_value(json_object_get(json_object_get(r.json, "policy"), "file")),
                            "serial = 2\n");
        curl_multi_remove_handle(multi, waiting);
        curl_easy_cleanup(waiting);
        curl_multi_cleanup(multi);
}

/* ---- the page ---- */

static char cookie[300];

static struct request page_request(const char *path)
{
        static char url[512];

        snprintf(url, sizeof(url), "%s%s", server.urls[1], path);
        return (struct request){.url = url, .ca = server.server_ca, .headers = {*cookie ? cookie : NULL}};
}

static long login(const char *user, const char *password, const char *origin, struct reply *r)
{
        static char body[256], origin_header[128];
        struct request q = page_request("/api/v1/login");

        snprintf(body, sizeof(body), "{\"user\":\"%s\",\"password\":\"%s\"}", user, password);
        snprintf(origin_header, sizeof(origin_header), "Origin: %s", origin);
        q.headers[0] = "Content-Type: application/json";
        q.headers[1] = origin_header;
        q.body = body;
        q.size = strlen(body);
        return client_do(curl, q, r);
}

static void test_session(void **state)
{
        _cleanup_(reply_done) struct reply r = {0};
        static char origin[128];
        struct request q;

        snprintf(origin, sizeof(origin), "Origin: %s", server.urls[1]);
        *cookie = 0;
        assert_int_equal(client_do(curl, page_request("/api/v1/session"), &r), 401);
        assert_int_equal(client_do(curl, page_request("/api/v1/violations"), &r), 401);
        assert_int_equal(client_do(curl, page_request("/api/v1/violations/d-x/1"), &r), 401);
        assert_int_equal(client_do(curl, page_request("/api/v1/devices"), &r), 401);
        assert_int_equal(client_do(curl, page_request("/api/v1/facets"), &r), 401);
        assert_int_equal(login("eve", "wrong", server.urls[1], &r), 401);
        assert_int_equal(login("adam", PASSWORD, server.urls[1], &r), 401);
        assert_int_equal(login("eve", PASSWORD, "https://evil.example", &r), 403);
        assert_int_equal(login("eve", PASSWORD, server.urls[1], &r), 200);
        assert_true(text_starts_with(r.cookie, "__Host-onchannel="));
        assert_non_null(strstr(r.cookie, "; Path=/; Secure; HttpOnly; SameSite=Strict;"));
        snprintf(cookie, sizeof(cookie), "Cookie: %.*s", (int)strcspn(r.cookie, ";"), r.cookie);
        assert_int_equal(client_do(curl, page_request("/api/v1/session"), &r), 200);
        assert_string_equal(json_string_value(json_object_get(r.json, "role")), "auditor");

        q = page_request("/api/v1/logout");
        q.body = "{}";
        q.size = 2;
        q.headers[1] = "Content-Type: application/json";
        assert_int_equal(client_do(curl, q, &r), 403);
        q.headers[2] = origin;
        assert_int_equal(client_do(curl, q, &r), 200);
        assert_int_equal(client_do(curl, page_request("/api/v1/session"), &r), 401);
        *cookie = 0;
        assert_int_equal(login("eve", PASSWORD, server.urls[1], &r), 200);
        snprintf(cookie, sizeof(cookie), "Cookie: x=1; %.*s", (int)strcspn(r.cookie, ";"), r.cookie);
}

static void test_pages(void **state)
{
        _cleanup_(client_device_done) struct client_device a;
        _cleanup_(reply_done) struct reply r = {0};
        _cleanup_buf_ struct buf text = {0};
        char path[256];
        uint64_t expect = 250;

        device_new(&a, "pages");
        client_batch(&a, 250, T0, &text);
        assert_int_equal(send_text(&a, &text, &r), 200);
        strcpy(path, "/api/v1/violations?device=pages&limit=60");
        for (;;) {
                size_t i;
                json_t *row;
                const char *next;

                assert_int_equal(client_do(curl, page_request(path), &r), 200);
                json_array_foreach(json_object_get(r.json, "rows"), i, row)
                {
                        assert_int_equal(json_integer_value(json_object_get(row, "seq")), expect);
                        expect--;
                }
                assert_int_equal(number_of(&r, "total"), 250);
                next = json_string_value(json_object_get(r.json, "next"));
                if (!next)
                        break;
                snprintf(path, sizeof(path), "/api/v1/violations?device=pages&limit=60&before=%s", next);
        }
        assert_int_equal(expect, 0);
        assert_int_equal(client_do(curl, page_request("/api/v1/violations?device=pages&channel=telegram"), &r), 200);
        assert_int_equal(number_of(&r, "total"), 63);
        client_do(curl, page_request("/api/v1/violations?sort=up"), &r);
        assert_error(&r, 400, "'sort'");
}

static bool verified(struct reply *r, const char *path)
{
        assert_int_equal(client_do(curl, page_request(path), r), 200);
        return json_is_true(json_object_get(json_object_get(r->json, "chain"), "verified"));
}

#define OF_PROOF " WHERE seq = 8 AND device = (SELECT number FROM device WHERE name = 'proof')"

static void test_proof(void **state)
{
        static const char *const tampering[] = {
                "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'curl', 'wget') AS BLOB)" OF_PROOF,
                "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'wget', 'curl') AS BLOB)" OF_PROOF,
                "UPDATE record SET hash = zeroblob(32)" OF_PROOF,
        };
        _cleanup_(client_device_done) struct client_device a;
        _cleanup_(reply_done) struct reply r = {0};
        _cleanup_buf_ struct buf text = {0};
        char path[128];
        json_t *row;
        sqlite3 *db;

        device_new(&a, "proof");
        client_batch(&a, 9, T0, &text);
        assert_int_equal(send_text(&a, &text, &r), 200);
        snprintf(path, sizeof(path), "/api/v1/violations/%s/5", a.id);
        assert_true(verified(&r, path));
        row = json_object_get(r.json, "row");
        assert_string_equal(json_string_value(json_object_get(row, "device_name")), "proof");
        assert_string_equal(json_string_value(json_object_get(row, "channel")), "telegram");
        assert_true(json_is_object(json_object_get(json_object_get(r.json, "record"), "unmapped")));
        assert_int_equal(stored("SELECT count(*) FROM admin_audit WHERE who = 'eve' AND action = 'read'"), 1);

        /* somebody with the database rewrites another record under the same seal, or only its hash */
        for (size_t i = 0; i < ELEMENTSOF(tampering); i++) {
                DEMAND(sqlite3_open(database, &db) == SQLITE_OK);
                DEMAND(sqlite3_exec(db, tampering[i], NULL, NULL, NULL) == SQLITE_OK);
                sqlite3_close(db);
                assert_int_equal(verified(&r, path), i % 2);
        }
        snprintf(path, sizeof(path), "/api/v1/violations/%s/10", a.id);
        assert_int_equal(client_do(curl, page_request(path), &r), 404);
        assert_int_equal(client_do(curl, page_request("/api/v1/violations/d-x/1"), &r), 404);
}

static void test_devices(void **state)
{
        static const char status[] =
                "{\"version\":\"0.1.0\",\"sensors\":\"exec=lsm\",\"policy\":{\"serial\":42,\"mode\":\"enforce\","
                "\"expired\":false},\"counters\":{\"lost\":3},\"spool\":{\"queue\":7}}";
        _cleanup_(client_device_done) struct client_device a;
        _cleanup_(reply_done) struct reply r = {0};
        struct request q;
        json_t *row, *found = NULL;
        size_t i;

        device_new(&a, "status");
        q = agents_request("/v1/status", &a);
        q.headers[0] = "Content-Type: application/json";
        q.body = status;
        q.size = strlen(status);
        assert_int_equal(client_do(curl, q, &r), 200);
        assert_int_equal(client_do(curl, page_request("/api/v1/devices"), &r), 200);
        json_array_foreach(json_object_get(r.json, "rows"), i,
                           row) if (strcmp(json_string_value(json_object_get(row, "name")), "status") == 0) found =
                row;
        assert_non_null(found);
        assert_int_equal(json_integer_value(json_object_get(found, "policy_serial")), 42);
        assert_int_equal(json_integer_value(json_object_get(found, "lost")), 3);
        assert_int_equal(json_integer_value(json_object_get(found, "queue")), 7);
        assert_string_equal(json_string_value(json_object_get(found, "sensors")), "exec=lsm");
        assert_true(json_is_null(json_object_get(found, "problem")));
        assert_int_equal(client_do(curl, page_request("/api/v1/facets"), &r), 200);
        assert_int_equal(json_array_size(json_object_get(r.json, "users")), 2);
        assert_int_equal(json_array_size(json_object_get(r.json, "channels")), 4);
        assert_int_equal(client_do(curl, page_request("/api/v1/facets?user=zz&device=zz"), &r), 200);
        assert_int_equal(json_array_size(json_object_get(r.json, "users")), 0);
        assert_int_equal(json_array_size(json_object_get(r.json, "devices")), 0);
        assert_int_equal(json_array_size(json_object_get(r.json, "channels")), 4);
        assert_int_equal(client_do(curl, page_request("/api/v1/facets?users=zz"), &r), 400);
}

/* Last: afterwards nobody logs in from this address. */
static void test_login_limit(void **state)
{
        _cleanup_(reply_done) struct reply r = {0};
        unsigned refused = 0;

        *cookie = 0;
        while (login("eve", "wrong", server.urls[1], &r) == 401)
                assert_true(++refused <= 10);
        assert_int_equal(r.status, 429);
        assert_true(atoi(r.retry_after) > 0);
        assert_int_equal(login("eve", PASSWORD, server.urls[1], &r), 429);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_enrol),     cmocka_unit_test(test_reports),     cmocka_unit_test(test_branch),
                cmocka_unit_test(test_malformed), cmocka_unit_test(test_too_large),   cmocka_unit_test(test_policy),
                cmocka_unit_test(test_session),   cmocka_unit_test(test_pages),       cmocka_unit_test(test_proof),
                cmocka_unit_test(test_devices),   cmocka_unit_test(test_login_limit),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
