/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opening, the group, and what all statements share. */
#include "collector/store/sqlite.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"

#define SCHEMA_VERSION 1
#define BUSY_MS        5000 /* the command line writes beside the server */
#define PROGRESS_STEPS 10000

static uint64_t now_monotonic_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int sqlite_errno(sqlite3 *db, int code)
{
        switch (code & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_IOERR:
                return sqlite3_system_errno(db) == ENOSPC ? -ENOSPC : -EIO;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_INTERRUPT:
                return -ETIME;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_CONSTRAINT:
                return -EEXIST;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EUCLEAN;
        case SQLITE_CANTOPEN:
                return -ENOENT;
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return -EACCES;
        }
        return -EIO;
}

int sqlite_step(sqlite3_stmt *statement)
{
        int code = sqlite3_step(statement);

        return code == SQLITE_ROW ? 1 : sqlite_errno(sqlite3_db_handle(statement), code);
}

static int bind_list(sqlite3_stmt *statement, const char *types, va_list list)
{
        int code = SQLITE_OK;

        for (int i = 1; *types && code == SQLITE_OK; types++, i++) {
                if (*types == 'i') {
                        code = sqlite3_bind_int64(statement, i, va_arg(list, int64_t));
                } else if (*types == 't') {
                        code = sqlite3_bind_text(statement, i, va_arg(list, const char *), -1, SQLITE_STATIC);
                } else {
                        const void *data = va_arg(list, const void *);

                        code = sqlite3_bind_blob64(statement, i, data, va_arg(list, size_t), SQLITE_STATIC);
                }
        }
        return sqlite_errno(sqlite3_db_handle(statement), code);
}

int sqlite_bind(sqlite3_stmt *statement, const char *types, ...)
{
        va_list list;
        int r;

        va_start(list, types);
        r = bind_list(statement, types, list);
        va_end(list);
        return r;
}

static int prepare_list(struct sqlite_store *s, enum statement which, sqlite3_stmt **ret, const char *types,
                        va_list list)
{
        sqlite3 *db = which >= SQL_DEVICES ? s->search : s->write;
        sqlite3_stmt **slot = &s->statements[which];
        int code, r;

        if (!*slot) {
                code = sqlite3_prepare_v3(db, sqlite_statements[which], -1, SQLITE_PREPARE_PERSISTENT, slot, NULL);
                if (code != SQLITE_OK)
                        return sqlite_errno(db, code);
        }
        sqlite3_reset(*slot);
        r = bind_list(*slot, types, list);
        if (r == 0)
                *ret = *slot;
        return r;
}

int sqlite_prepare(struct sqlite_store *s, enum statement which, sqlite3_stmt **ret, const char *types, ...)
{
        va_list list;
        int r;

        va_start(list, types);
        r = prepare_list(s, which, ret, types, list);
        va_end(list);
        return r;
}

int sqlite_run(struct sqlite_store *s, enum statement which, const char *types, ...)
{
        _cleanup_reset_ sqlite3_stmt *statement = NULL;
        va_list list;
        int r;

        if (which > SQL_ROLLBACK_TO) {
                r = sqlite_group_begin(s);
                if (r < 0)
                        return r;
        }
        va_start(list, types);
        r = prepare_list(s, which, &statement, types, list);
        va_end(list);
        if (r == 0)
                r = sqlite_step(statement);
        /* after SQLITE_FULL, _IOERR or _NOMEM the whole transaction may be gone */
        if (r < 0 && s->in_group && sqlite3_get_autocommit(s->write)) {
                s->in_group = false;
                s->group_error = r;
        }
        return r < 0 ? r : sqlite3_changes(s->write);
}

int sqlite_group_begin(struct sqlite_store *s)
{
        int r;

        if (s->group_error < 0)
                return s->group_error;
        if (s->in_group)
                return 0;
        r = sqlite_run(s, SQL_BEGIN, "");
        if (r < 0)
                return r;
        s->in_group = true;
        return 0;
}

static int sqlite_commit(struct store *base)
{
        struct sqlite_store *s = sqlite_of(base);
        int r = s->group_error;

        s->group_error = 0;
        if (!s->in_group)
                return r;
        s->in_group = false;
        r = sqlite_run(s, SQL_COMMIT, "");
        if (r < 0 && !sqlite3_get_autocommit(s->write))
                (void)sqlite_run(s, SQL_ROLLBACK, "");
        return r < 0 ? r : 0;
}

static int on_progress(void *userdata)
{
        const struct sqlite_store *s = userdata;

        return s->deadline_ms && now_monotonic_ms() > s->deadline_ms;
}

void sqlite_deadline(struct sqlite_store *s, uint64_t ms)
{
        s->deadline_ms = ms ? now_monotonic_ms() + ms : 0;
}

const char *column_text(sqlite3_stmt *statement, int column)
{
        return (const char *)sqlite3_column_text(statement, column);
}

int column_bytes(sqlite3_stmt *statement, int column, uint8_t *ret, size_t size)
{
        if (sqlite3_column_bytes(statement, column) != (int)size)
                return -EUCLEAN;
        memcpy(ret, sqlite3_column_blob(statement, column), size);
        return 0;
}

int column_copy(sqlite3_stmt *statement, int column, char *ret, size_t size)
{
        const char *text = column_text(statement, column);

        if (!text || strlen(text) >= size)
                return -EUCLEAN;
        strcpy(ret, text);
        return 0;
}

/* ---- opening ---- */

static void sqlite_free(struct store *base)
{
        struct sqlite_store *s = sqlite_of(base);

        for (size_t i = 0; i < _SQL_MAX; i++)
                sqlite3_finalize(s->statements[i]);
        sqlite3_close(s->search);
        sqlite3_close(s->write);
        free(s);
}

static int pragma_number(sqlite3 *db, const char *sql, int64_t *ret)
{
        _cleanup_finalize_ sqlite3_stmt *statement = NULL;
        int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

        if (code != SQLITE_OK)
                return sqlite_errno(db, code);
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
                return code == SQLITE_DONE ? -EUCLEAN : sqlite_errno(db, code);
        *ret = sqlite3_column_int64(statement, 0);
        return 0;
}

static int schema_apply(sqlite3 *db, const char *path, struct diag *reterr)
{
        int64_t version = 0;
        char sql[64];
        int r = pragma_number(db, "PRAGMA user_version", &version);

        if (r < 0)
                return r;
        if (version > SCHEMA_VERSION)
                return diag_set(reterr, -EPROTONOSUPPORT, path, 0, "made by a newer version of onchannel-collector");
        if (version == SCHEMA_VERSION)
                return 0;
        snprintf(sql, sizeof(sql), "PRAGMA user_version = %d; COMMIT", SCHEMA_VERSION);
        r = sqlite_errno(db, sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
        if (r == 0)
                r = sqlite_errno(db, sqlite3_exec(db, sqlite_schema, NULL, NULL, NULL));
        if (r == 0)
                r = sqlite_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
        if (r < 0)
                (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return r;
}

static int connection_open(const char *path, int flags, const char *pragmas, sqlite3 **ret)
{
        int code = sqlite3_open_v2(path, ret, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);

        if (code != SQLITE_OK)
                return sqlite_errno(*ret, code);
        sqlite3_busy_timeout(*ret, BUSY_MS);
        return sqlite_errno(*ret, sqlite3_exec(*ret, pragmas, NULL, NULL, NULL));
}

static const struct store sqlite_functions = {
        .free = sqlite_free,
        .commit = sqlite_commit,
        .token_add = sqlite_token_add,
        .device_enrol = sqlite_device_enrol,
        .device_get = sqlite_device_get,
        .device_retire = sqlite_device_retire,
        .device_seen = sqlite_device_seen,
        .device_status = sqlite_device_status,
        .devices = sqlite_devices,
        .append = sqlite_append,
        .records = sqlite_records,
        .seal_get = sqlite_seal_get,
        .violations = sqlite_violations,
        .count = sqlite_count,
        .facet = sqlite_facet,
        .user_set = sqlite_user_set,
        .user_get = sqlite_user_get,
        .session_add = sqlite_session_add,
        .session_get = sqlite_session_get,
        .session_delete = sqlite_session_delete,
        .audit_add = sqlite_audit_add,
        .tidy = sqlite_tidy,
};

int store_sqlite_open(const char *path, struct store **ret, struct diag *reterr)
{
        struct sqlite_store *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->base = sqlite_functions;
        r = connection_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;"
                            "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;"
                            "PRAGMA cache_size = -32768",
                            &s->write);
        if (r == 0)
                r = schema_apply(s->write, path, reterr);
        if (r == 0)
                r = connection_open(path, SQLITE_OPEN_READONLY,
                                    "PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY", &s->search);
        if (r < 0) {
                sqlite_free(&s->base);
                return r == -EPROTONOSUPPORT
                               ? r
                               : diag_set(reterr, r, path, 0, "cannot open the database: %s", strerror(-r));
        }
        sqlite3_progress_handler(s->search, PROGRESS_STEPS, on_progress, s);
        *ret = &s->base;
        return 0;
}
