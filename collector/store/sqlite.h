/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to store/: two connections (writes of the group; searches), prepared statements. */
#include <sqlite3.h>
#include "collector/store/store.h"

enum statement {
        SQL_BEGIN,
        SQL_COMMIT,
        SQL_ROLLBACK,
        SQL_SAVEPOINT,
        SQL_RELEASE,
        SQL_ROLLBACK_TO,
        SQL_TOKEN_ADD,
        SQL_TOKEN_USE,
        SQL_DEVICE_ADD,
        SQL_DEVICE_RENEW,
        SQL_DEVICE_GET,
        SQL_DEVICE_RETIRE,
        SQL_DEVICE_SEEN,
        SQL_DEVICE_STATUS,
        SQL_DEVICE_MOVE,
        SQL_SEAL_ADD,
        SQL_RECORD_ADD,
        SQL_RECORD_HASH,
        SQL_USER_SET,
        SQL_SESSION_ADD,
        SQL_SESSION_DELETE,
        SQL_AUDIT_ADD,
        SQL_SESSIONS_EXPIRE,
        SQL_TOKENS_EXPIRE,
        /* on the searching connection from here */
        SQL_DEVICES,
        SQL_RECORDS,
        SQL_SEAL_GET,
        SQL_USER_GET,
        SQL_SESSION_GET,
        _SQL_MAX,
};

struct sqlite_store {
        struct store base;
        sqlite3 *write, *search;
        sqlite3_stmt *statements[_SQL_MAX];
        bool in_group;
        int group_error; /* SQLite undid the whole group by itself: commit() says so */
        uint64_t deadline_ms; /* of the search under way, CLOCK_MONOTONIC; 0: none */
};

static inline struct sqlite_store *sqlite_of(struct store *s)
{
        return (struct sqlite_store *)s;
}

extern const char *const sqlite_schema;
extern const char *const sqlite_statements[_SQL_MAX];

int sqlite_errno(sqlite3 *db, int code);
/* Reset, and bound by letters: i int64_t, t text or NULL, b blob and its size (size_t). */
int sqlite_prepare(struct sqlite_store *s, enum statement which, sqlite3_stmt **ret, const char *types, ...);
int sqlite_bind(sqlite3_stmt *statement, const char *types, ...);
/* Prepares, binds and runs a statement without rows; returns how many rows it changed.
 * All but the transaction's own statements open the group first. */
int sqlite_run(struct sqlite_store *s, enum statement which, const char *types, ...);
/* 1 a row, 0 no more. */
int sqlite_step(sqlite3_stmt *statement);
int sqlite_group_begin(struct sqlite_store *s);
void sqlite_deadline(struct sqlite_store *s, uint64_t ms);

static inline void sqlite_resetp(sqlite3_stmt **statement)
{
        if (*statement)
                sqlite3_reset(*statement);
}
#define _cleanup_reset_ _cleanup_(sqlite_resetp)
static inline void sqlite_finalizep(sqlite3_stmt **statement)
{
        sqlite3_finalize(*statement);
}
#define _cleanup_finalize_ _cleanup_(sqlite_finalizep)

const char *column_text(sqlite3_stmt *statement, int column); /* NULL for NULL */
/* Exactly `size` bytes; -EUCLEAN. */
int column_bytes(sqlite3_stmt *statement, int column, uint8_t *ret, size_t size);
/* Text into a bounded field; -EUCLEAN when it does not fit. */
int column_copy(sqlite3_stmt *statement, int column, char *ret, size_t size);

/* Calls fn for each row of a statement with the columns of SQL_RECORDS, or the first 22 of them. */
int sqlite_rows(sqlite3_stmt *statement, store_row_fn fn, void *userdata);

int sqlite_token_add(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], unsigned uses, uint64_t expires_ms);
int sqlite_device_enrol(struct store *s, const struct store_enrol *e);
int sqlite_device_get(struct store *s, const char *id, struct store_device *ret);
int sqlite_device_retire(struct store *s, const char *name, uint64_t now_ms);
int sqlite_device_seen(struct store *s, const char *id, uint64_t now_ms);
int sqlite_device_status(struct store *s, int64_t device, const char *json);
int sqlite_devices(struct store *s, store_device_fn fn, void *userdata);
int sqlite_append(struct store *s, const struct store_batch *b);
int sqlite_records(struct store *s, int64_t device, uint64_t first, uint64_t n, store_row_fn fn, void *userdata);
int sqlite_seal_get(struct store *s, int64_t device, uint64_t seq, struct chain_seal *ret);
int sqlite_violations(struct store *s, const struct store_filter *f, store_row_fn fn, void *userdata);
int sqlite_count(struct store *s, const struct store_filter *f, uint64_t max, uint64_t *ret, bool *ret_exact);
int sqlite_facet(struct store *s, enum store_facet which, store_facet_fn fn, void *userdata);
int sqlite_user_set(struct store *s, const struct store_user *u);
int sqlite_user_get(struct store *s, const char *name, struct store_user *ret);
int sqlite_session_add(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], const char *user,
                       uint64_t expires_ms);
int sqlite_session_get(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], uint64_t now_ms,
                       struct store_session *ret);
int sqlite_session_delete(struct store *s, const uint8_t hash[static STORE_HASH_SIZE]);
int sqlite_audit_add(struct store *s, const struct store_audit *a);
int sqlite_tidy(struct store *s, uint64_t now_ms);
