/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The agents' and the page's calls over a real server in a child process, with SQLite; its device, its requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include "collector-client.h"
#include "collector-server.h"
#include "collector/api/api.h"
#include "collector/api/offer.h"

#define PASSWORD "correct horse"
#define T0       1700000000000ull

static struct test_server server;
static char database[64];
static CURL *curl;
static struct store *child_store;
static struct api *child_api;

/* ---- the server ---- */

static void open_listeners(struct test_server *s)
{
        static struct http_config agents, page;

        DEMAND(store_open(database, STORE_CREATE, &child_store, NULL) == 0);
        DEMAND(api_new(&(struct api_options){.loop = s->loop,
                                             .store = child_store,
                                             .device_ca = s->device_ca,
                                             .device_ca_key = s->device_ca_key,
                                             .server_ca = s->server_ca},
                       &child_api, NULL) == 0);
        api_agents_config(child_api, &agents);
        api_page_config(child_api, &page);
        test_server_listen(s, 0, &agents, true);
        test_server_listen(s, 1, &page, false);
        api_set_servers(child_api, s->servers[0], s->servers[1]);
}

static void close_api(void)
{
        api_stop(child_api);
        api_free(child_api);
        store_free(child_store);
}

static void token_make(struct store *s, const char *token, unsigned uses)
{
        uint8_t hash[STORE_HASH_SIZE];

        crypto_hash_sha256(hash, (const uint8_t *)token, strlen(token));
        DEMAND(store_token_add(s, hash, uses, UINT64_MAX / 2) == 0);
}

static void policy_put(const char *text)
{
        static const char signature[] =
                "untrusted comment: x\nAAAA\ntrusted comment: onchannel policy serial=1\nAAAA\n";
        char path[64], signature_path[80];
        struct offer o;
        struct store *s;

        snprintf(path, sizeof(path), "%s/p.ini", server.dir);
        snprintf(signature_path, sizeof(signature_path), "%s.minisig", path);
        DEMAND(file_write_atomic(path, text, strlen(text), 0600) == 0);
        DEMAND(file_write_atomic(signature_path, signature, strlen(signature), 0600) == 0);
        DEMAND(offer_read(OFFER_POLICY, path, &o, NULL) == 0);
        DEMAND(store_open(database, 0, &s, NULL) == 0);
        DEMAND(store_bundle_put(s, OFFER_POLICY, o.json) == 0);
        DEMAND(store_commit(s) == 0);
        store_free(s);
        offer_done(&o);
}

static int setup(void **state)
{
        struct store_user u = {"eve", "auditor", ""};
        struct store *s;

        DEMAND(sodium_init() >= 0);
        test_server_folder(&server);
        snprintf(database, sizeof(database), "%s/db", server.dir);
        DEMAND(store_open(database, STORE_CREATE, &s, NULL) == 0);
        DEMAND(crypto_pwhash_str(u.password, PASSWORD, strlen(PASSWORD), crypto_pwhash_OPSLIMIT_MIN,
                                 crypto_pwhash_MEMLIMIT_MIN) == 0);
        DEMAND(store_user_set(s, &u) == 0);
        token_make(s, "once", 1);
        token_make(s, "often", 100);
        DEMAND(store_commit(s) == 0);
        store_free(s);
        test_server_start(&server, open_listeners, close_api);
        curl_global_init(CURL_GLOBAL_DEFAULT);
        curl = curl_easy_init();
        return curl ? 0 : -1;
}

static int teardown(void **state)
{
        curl_easy_cleanup(curl);
        test_server_stop(&server);
        curl_global_cleanup();
        return 0;
}

/* ---- the device ---- */

static struct request agents_request(const char *path, const struct client_device *as)
{
        static char url[128];

        snprintf(url, sizeof(url), "%s%s", server.urls[0], path);
        return (struct request){.url = url, .ca = server.server_ca, .as = as};
}

static long enrol(struct client_device *d, const char *token, struct reply *r)
{
        return client_enrol(curl, agents_request("/v1/enrol", NULL), d, token, r);
}

static void device_new(struct client_device *d, const char *name)
{
        _cleanup_(reply_done) struct reply r = {0};

        client_device_init(d, name);
        assert_int_equal(enrol(d, "often", &r), 200);
        assert_string_equal(json_string_value(json_object_get(r.json, "device")), d->id);
}

static long send_text(const struct client_device *as, const struct buf *text, struct reply *r)
{
        _cleanup_buf_ struct buf packed = {0};
        struct request q = agents_request("/v1/reports", as);

        client_compress(text, &packed);
        q.headers[0] = "Content-Type: application/x-ndjson";
        q.headers[1] = "Content-Encoding: zstd";
        q.body = packed.data;
        q.size = packed.size;
        return client_do(curl, q, r);
}

static uint64_t number_of(const struct reply *r, const char *key)
{
        return (uint64_t)json_integer_value(json_object_get(r->json, key));
}

static const char *error_of(const struct reply *r)
{
        const char *s = json_string_value(json_object_get(r->json, "error"));

        return s ? s : "";
}

static void assert_error(const struct reply *r, long status, const char *part)
{
        if (r->status != status || !strstr(error_of(r), part))
                fail_msg("expected %ld '%s', got %ld '%s'", status, part, r->status, error_of(r));
}

/* What is stored, by another connection. */
static int64_t stored(const char *sql)
{
        sqlite3_stmt *q;
        sqlite3 *db;
        int64_t n;

        DEMAND(sqlite3_open(database, &db) == SQLITE_OK);
        DEMAND(sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK);
        DEMAND(sqlite3_step(q) == SQLITE_ROW);
        n = sqlite3_column_int64(q, 0);
        sqlite3_finalize(q);
        sqlite3_close(db);
        return n;
}
