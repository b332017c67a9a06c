/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include "collector-client.h"
#include "collector-server.h"
#include "collector/net/message.h"

static void test_query(void **state)
{
        static const struct {
                const char *query, *expect; /* "name=value;" each; NULL: refused */
        } cases[] = {
                {NULL, ""},
                {"", ""},
                {"a=b", "a=b;"},
                {"a=b&&c", "a=b;c=;"},
                {"a=%41+%2b%26%3D", "a=A +&=;"},
                {"%61=1", "a=1;"},
                {"a=%C3%A9", "a=\xc3\xa9;"},
                {"a=1&%61=2", NULL},
                {"a=%", NULL},
                {"a=%4", NULL},
                {"a=%zz", NULL},
                {"a=%00", NULL},
                {"a=%FF", NULL},
                {"\xff=1", NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(http_query_done) struct http_query q = {0};
                _cleanup_buf_ struct buf text = {0};
                int r = http_query_parse(cases[i].query, &q, NULL);

                assert_int_equal(r, cases[i].expect ? 0 : -EBADMSG);
                buf_add_string(&text, "");
                for (size_t k = 0; k < q.n; k++)
                        buf_addf(&text, "%s=%s;", q.pairs[k].name, q.pairs[k].value);
                if (r == 0)
                        assert_string_equal((char *)text.data, cases[i].expect);
        }
}

static void test_query_many(void **state)
{
        _cleanup_buf_ struct buf text = {0};
        struct http_query q = {0};

        for (int i = 0; i <= HTTP_QUERY_MAX; i++)
                buf_addf(&text, "&p%d=1", i);
        assert_int_equal(http_query_parse((char *)text.data, &q, NULL), -E2BIG);
        assert_null(q.storage);
}

static void test_cookie(void **state)
{
        static const struct {
                const char *header;
                int r;
                const char *value;
        } cases[] = {
                {"id=abc", 0, "abc"},           {"x=1; id=abc; y=2", 0, "abc"}, {"xid=1; id=", 0, ""},
                {"ID=abc", -ENOENT, NULL},      {"idx=abc", -ENOENT, NULL},     {"", -ENOENT, NULL},
                {"id=123456789", -E2BIG, NULL}, {"id", -ENOENT, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char value[8];

                assert_int_equal(http_cookie_find(cases[i].header, "id", value, sizeof(value)), cases[i].r);
                if (cases[i].value)
                        assert_string_equal(value, cases[i].value);
        }
}

static void test_address(void **state)
{
        static const struct {
                const char *text, *host, *port; /* host NULL: refused */
        } cases[] = {
                {"127.0.0.1:8443", "127.0.0.1", "8443"},
                {"[::1]:0", "::1", "0"},
                {"*:1", "", "1"},
                {"host.example:65535", "host.example", "65535"},
                {"host:65536", NULL, NULL},
                {"host:", NULL, NULL},
                {"host", NULL, NULL},
                {":80", NULL, NULL},
                {"::1:80", NULL, NULL},
                {"[::1:80", NULL, NULL},
                {"[]:80", NULL, NULL},
                {"host:+1", NULL, NULL},
                {"", NULL, NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char host[HTTP_HOST_MAX], port[6];
                int r = http_address_parse(cases[i].text, host, port);

                assert_int_equal(r, cases[i].host ? 0 : -EINVAL);
                if (r == 0) {
                        assert_string_equal(host, cases[i].host);
                        assert_string_equal(port, cases[i].port);
                }
        }
}

/* ---- a server ---- */

#define ECHO_MAX 100000
#define BIG_SIZE (3u << 20)

static char big[BIG_SIZE];

static void echo(struct http_request *req)
{
        struct http_blob *b = http_blob_new(req->body.data ? (char *)req->body.data : "", req->body.size);

        http_respond(req, &(struct http_response){
                                  .status = 200, .type = "text/plain", .body = b->data, .size = b->size, .blob = b});
}

static void give_big(struct http_request *req)
{
        http_respond(req,
                     &(struct http_response){.status = 200, .type = "text/plain", .body = big, .size = sizeof(big)});
}

static void on_deadline(struct http_request *req)
{
        http_respond_error(req, 503, "late");
}

static void on_gone(struct http_request *req)
{
}

static void hold(struct http_request *req)
{
        http_hold(req, http_now_ms(req) + 100, on_deadline, on_gone);
}

static const struct http_route routes[] = {
        {"POST", "/echo", false, ECHO_MAX, echo}, {"GET", "/big", false, 0, give_big},
        {"GET", "/hold", false, 0, hold},         {"GET", "/peer", true, 0, echo},
        {"GET", "/below/", false, 0, echo},       {0},
};
static const struct http_header headers[] = {{"x-content-type-options", "nosniff"}, {0}};
static const struct http_config config = {.name = "test",
                                          .routes = routes,
                                          .headers = headers,
                                          .connections_max = 4,
                                          .strangers_max = 4,
                                          .streams_max = 4,
                                          .headers_ms = 300,
                                          .idle_ms = 300,
                                          .anonymous_idle_ms = 300};

static struct test_server server;
static CURL *curl;

static void open_listeners(struct test_server *s)
{
        test_server_listen(s, 0, &config, true);
}

static int setup(void **state)
{
        test_server_folder(&server);
        test_server_start(&server, open_listeners, NULL);
        curl = curl_easy_init();
        return curl ? 0 : -1;
}

static int teardown(void **state)
{
        curl_easy_cleanup(curl);
        test_server_stop(&server);
        return 0;
}

static long call(const char *method, const char *path, size_t size, struct reply *r)
{
        static char body[2 * ECHO_MAX];
        char url[128];
        struct request q = {.url = url, .ca = server.server_ca, .method = method};

        snprintf(url, sizeof(url), "%s%s", server.urls[0], path);
        memset(body, 'x', sizeof(body));
        if (strcmp(method, "POST") == 0) {
                q.body = body;
                q.size = size;
        }
        return client_do(curl, q, r);
}

static void test_routes(void **state)
{
        static const struct {
                const char *method, *path;
                size_t size;
                long status;
        } cases[] = {
                {"POST", "/echo", 0, 200},
                {"POST", "/echo", ECHO_MAX, 200},
                {"POST", "/echo", ECHO_MAX + 1, 413},
                {"POST", "/echo?x=1", 5, 200},
                {"GET", "/echo", 0, 405},
                {"GET", "/echo2", 0, 404},
                {"GET", "/below/this", 0, 200},
                {"GET", "/below", 0, 404},
                {"DELETE", "/big", 0, 405},
                {"POST", "/nothing", 50000, 404},
                {"GET", "/peer", 0, 401},
                {"GET", "/hold", 0, 503},
        };
        _cleanup_(reply_done) struct reply r = {0};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(call(cases[i].method, cases[i].path, cases[i].size, &r), cases[i].status);
                if (r.status == 200 && cases[i].size > 0)
                        assert_int_equal(r.body.size, cases[i].size);
                if (r.status != 200)
                        assert_true(json_is_string(json_object_get(r.json, "error")));
        }
}

/* The same limit without a Content-Length that announces it. */
static void test_unannounced(void **state)
{
        static char body[2 * ECHO_MAX];
        _cleanup_(reply_done) struct reply r = {0};
        char url[128];
        struct request q = {.url = url, .ca = server.server_ca, .headers = {"Content-Length:"}, .body = body};

        snprintf(url, sizeof(url), "%s/echo", server.urls[0]);
        q.size = ECHO_MAX;
        assert_int_equal(client_do(curl, q, &r), 200);
        q.size = ECHO_MAX + 1;
        assert_int_equal(client_do(curl, q, &r), 413);
}

static void test_big_answer(void **state)
{
        _cleanup_(reply_done) struct reply r = {0};

        assert_int_equal(call("GET", "/big", 0, &r), 200);
        assert_int_equal(r.body.size, BIG_SIZE);
}

static void test_headers_limit(void **state)
{
        _cleanup_(reply_done) struct reply r = {0};
        static char header[HTTP_HEADERS_MAX + 100];
        char url[128];

        snprintf(url, sizeof(url), "%s/big", server.urls[0]);
        memset(header, 'x', sizeof(header) - 1);
        memcpy(header, "x: ", 3);
        assert_int_equal(
                client_do(curl, (struct request){.url = url, .ca = server.server_ca, .headers = {header}}, &r), 431);
        assert_int_equal(call("POST", "/echo", 3, &r), 200);
}

/* A connection that says nothing ends by itself, and sooner when another one needs its place. */
static void test_silent(void **state)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        _cleanup_(reply_done) struct reply r = {0};
        int fds[4];

        curl_easy_cleanup(curl);
        curl = curl_easy_init();
        a.sin_port = htons((uint16_t)atoi(strrchr(server.urls[0], ':') + 1));
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = socket(AF_INET, SOCK_STREAM, 0);
                assert_int_equal(connect(fds[i], (struct sockaddr *)&a, sizeof(a)), 0);
        }
        assert_int_equal(call("POST", "/echo", 3, &r), 200);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                struct pollfd p = {.fd = fds[i], .events = POLLIN};
                char c;

                assert_int_equal(poll(&p, 1, 10000), 1);
                assert_int_equal(read(fds[i], &c, 1), 0);
                close(fds[i]);
        }
}

/* HTTP/1.1 is not spoken: no ALPN in common. */
static void test_only_h2(void **state)
{
        CURL *c = curl_easy_init();

        curl_easy_setopt(c, CURLOPT_URL, server.urls[0]);
        curl_easy_setopt(c, CURLOPT_CAINFO, server.server_ca);
        curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        assert_int_equal(curl_easy_perform(c), CURLE_SSL_CONNECT_ERROR);
        curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)(CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2));
        assert_int_equal(curl_easy_perform(c), CURLE_SSL_CONNECT_ERROR);
        curl_easy_cleanup(c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_query),         cmocka_unit_test(test_query_many),
                cmocka_unit_test(test_cookie),        cmocka_unit_test(test_address),
                cmocka_unit_test(test_routes),        cmocka_unit_test(test_big_answer),
                cmocka_unit_test(test_unannounced),   cmocka_unit_test(test_only_h2),
                cmocka_unit_test(test_headers_limit), cmocka_unit_test(test_silent),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
