/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A store with one device, in SQLite or in a PostgreSQL of the test's own, and batches for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "collector/store/schema.h"
#include "collector/store/store.h"
#include "tests/unit/postgres.h"

#define RECORDS 6

struct fixture {
        char dir[32], path[128];
        struct store *s;
        struct store_device device;
        uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];
};

static const uint8_t token[STORE_HASH_SIZE] = {1}, certificate[STORE_HASH_SIZE] = {2};

static inline int enrol(struct fixture *f, const char *name, const uint8_t *key, const uint8_t *token_hash)
{
        char id[DEVICE_ID_MAX];

        device_id_format(key, id);
        return store_device_enrol(f->s, &(struct store_enrol){id, name, key, token_hash, certificate, 1000});
}

static struct postgres postgres;
static bool on_postgres;

static inline void reopen(struct fixture *f)
{
        struct diag d = {0};
        int r;

        store_free(f->s);
        f->s = NULL;
        r = store_open(f->path, STORE_CREATE, &f->s, &d);
        if (r < 0)
                fail_msg("%s", d.text);
}

static inline void script(const char *where, const char *sql)
{
        _cleanup_(db_freep) struct db *db = NULL;

        assert_int_equal(db_open(where, DB_CREATE, &db, NULL), 0);
        assert_int_equal(db_script(db, sql), 0);
}

static inline int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));
        char id[DEVICE_ID_MAX];

        strcpy(f->dir, "/tmp/oc-store-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->path, sizeof(f->path), "%s/db", f->dir);
        if (on_postgres) {
                snprintf(f->path, sizeof(f->path), "%s", postgres.url);
                script(f->path, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        }
        reopen(f);
        device_key_new(f->public_key, f->secret);
        assert_int_equal(store_token_add(f->s, token, 1, 5000), 0);
        assert_int_equal(enrol(f, "ws-1", f->public_key, token), 0);
        assert_int_equal(store_commit(f->s), 0);
        device_id_format(f->public_key, id);
        assert_int_equal(store_device_get(f->s, id, &f->device), 0);
        *state = f;
        return 0;
}

static inline int teardown(void **state)
{
        struct fixture *f = *state;

        store_free(f->s);
        nftw(f->dir, postgres_remove, 4, FTW_DEPTH | FTW_PHYS);
        free(f);
        return 0;
}

/* Records first..first+n-1 that follow `prev`, all at their own millisecond. */
struct made {
        struct chain_seal seal;
        struct store_row rows[RECORDS];
        uint8_t hashes[RECORDS][CHAIN_HASH_SIZE];
        uint8_t salt[CHAIN_SALT_SIZE];
};

static inline void make(struct made *m, uint64_t first, uint64_t n, const uint8_t *prev)
{
        static const char *const channels[] = {"whatsapp", "signal", "discord"};

        static const char id[] = "d-test";

        memset(m, 0, sizeof(*m));
        m->seal = (struct chain_seal){.first = first, .n = n};
        memcpy(m->seal.prev, prev, CHAIN_HASH_SIZE);
        for (uint64_t i = 0; i < n; i++) {
                chain_next(id, first + i, i > 0 ? m->hashes[i - 1] : prev, m->salt, "{}", 2, m->hashes[i]);
                m->rows[i] = (struct store_row){.seq = first + i,
                                                .time_ms = 1000 + first + i,
                                                .kind = "violation",
                                                .channel = channels[(first + i) % 3],
                                                .channel_name = "Name",
                                                .class = "use",
                                                .tier = "name",
                                                .layer = "tls",
                                                .outcome = "reset",
                                                .verdict = "block",
                                                .user = (first + i) % 2 ? "anna" : NULL,
                                                .uid = (first + i) % 2 ? 1000 : -1,
                                                .program = "/usr/bin/curl",
                                                .remote = "192.0.2.7",
                                                .port = 443,
                                                .count = 1,
                                                .policy_serial = 42,
                                                .entry = "suffix x",
                                                .hash = m->hashes[i],
                                                .salt = m->salt,
                                                .body = "{}",
                                                .body_size = 2};
        }
        memcpy(m->seal.head, m->hashes[n - 1], CHAIN_HASH_SIZE);
}

static inline int put_at(struct fixture *f, const struct made *m, uint64_t received_ms)
{
        return store_append(f->s, &(struct store_batch){f->device.number, "boot", received_ms, &m->seal, m->rows});
}

static inline int put(struct fixture *f, const struct made *m)
{
        return put_at(f, m, 9000);
}

static inline uint64_t next_of(struct fixture *f)
{
        struct store_device d;

        assert_int_equal(store_device_get(f->s, f->device.id, &d), 0);
        return d.next_seq;
}

static inline int count_row(const struct store_row *row, void *userdata)
{
        ++*(unsigned *)userdata;
        return 0;
}

static inline unsigned n_records(struct fixture *f)
{
        unsigned n = 0;

        assert_int_equal(store_records(f->s, f->device.number, 1, 1000, count_row, &n), 0);
        return n;
}

struct seen {
        uint64_t seqs[RECORDS];
        unsigned n;
};

static inline int see(const struct store_row *row, void *userdata)
{
        struct seen *s = userdata;

        s->seqs[s->n++] = row->seq;
        return 0;
}

/* Runs the same tests on both. */
#define on_both(tests)                                                                                               \
        ({                                                                                                           \
                int _r = cmocka_run_group_tests_name("SQLite", tests, NULL, NULL);                                   \
                                                                                                                     \
                if (postgres_start(&postgres, "-c fsync=off")) {                                                     \
                        on_postgres = true;                                                                          \
                        _r += cmocka_run_group_tests_name("PostgreSQL", tests, NULL, NULL);                          \
                        postgres_stop(&postgres);                                                                    \
                }                                                                                                    \
                _r;                                                                                                  \
        })
