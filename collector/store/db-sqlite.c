/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/buf.h"
#include "collector/store/db-private.h"

#define BUSY_MS        5000 /* the command line writes beside the server */
#define PROGRESS_STEPS 10000

struct db_sqlite {
        struct db base;
        sqlite3 *sqlite;
        unsigned deadline_ms; /* of a statement */
        uint64_t until_ms; /* of the one under way; 0: for ever */
        const struct db_table *bulk_table; /* for which bulk_sql was made */
        char *bulk_sql;
};

static struct db_sqlite *sqlite_of(const struct db *db)
{
        return (struct db_sqlite *)db;
}

static int code_errno(sqlite3 *sqlite, int code)
{
        switch (code & 0xff) { /* switch: not an enum */
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_IOERR:
                return sqlite3_system_errno(sqlite) == ENOSPC ? -ENOSPC : -EIO;
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

static int failed(struct db *db, int code)
{
        int r = code_errno(sqlite_of(db)->sqlite, code);

        return r < 0 ? db_failed(db, r, sqlite3_errmsg(sqlite_of(db)->sqlite)) : 0;
}

static int sqlite_script(struct db *db, const char *sql)
{
        return failed(db, sqlite3_exec(sqlite_of(db)->sqlite, sql, NULL, NULL, NULL));
}

static void statement_drop(struct db *db, void *handle)
{
        sqlite3_finalize(handle);
}

/* SQLite numbers ?1; $1 would be a name, numbered by where it stands first. */
static char *numbered(const char *sql)
{
        char *text = strdup(sql);

        for (char *p = text; p && (p = strchr(p, '$')); p++)
                if (p[1] >= '0' && p[1] <= '9')
                        *p = '?';
        return text;
}

static int statement_get(struct db *db, const char *sql, struct db_rows *ret)
{
        struct db_statement *s = db_statement(db, sql, statement_drop);
        _cleanup_free_ char *text = NULL;
        sqlite3_stmt *new = NULL;
        int code;

        if (!s)
                return -ENOMEM;
        if (s->handle && !sqlite3_stmt_busy(s->handle)) {
                ret->handle = s->handle;
                return 0;
        }
        text = numbered(sql);
        if (!text)
                return -ENOMEM;
        code = sqlite3_prepare_v3(sqlite_of(db)->sqlite, text, -1, SQLITE_PREPARE_PERSISTENT, &new, NULL);
        if (code != SQLITE_OK)
                return failed(db, code);
        ret->owned = s->handle != NULL; /* the kept one is at work */
        if (!s->handle)
                s->handle = new;
        ret->handle = new;
        return 0;
}

static int bind_values(sqlite3_stmt *q, const struct db_value *v, size_t n)
{
        int code = SQLITE_OK;

        for (size_t k = 0; k < n && code == SQLITE_OK; k++) {
                int i = (int)k + 1;

                if (v[k].type == 'i')
                        code = sqlite3_bind_int64(q, i, v[k].number);
                else if (v[k].type == 't')
                        code = sqlite3_bind_text64(q, i, v[k].data, v[k].size, SQLITE_STATIC, SQLITE_UTF8);
                else if (v[k].type == 'b')
                        code = sqlite3_bind_blob64(q, i, v[k].data, v[k].size, SQLITE_STATIC);
                else
                        code = sqlite3_bind_null(q, i);
        }
        return code;
}

/* The first step is taken here, so that a statement without rows is done. */
static int sqlite_query(struct db *db, const char *sql, const struct db_value *v, size_t n, struct db_rows *ret)
{
        struct db_sqlite *s = sqlite_of(db);
        int code, r = statement_get(db, sql, ret);

        if (r < 0)
                return r;
        s->until_ms = s->deadline_ms ? clock_monotonic_ms() + s->deadline_ms : 0;
        sqlite3_reset(ret->handle);
        code = bind_values(ret->handle, v, n);
        if (code != SQLITE_OK)
                return failed(db, code);
        code = sqlite3_step(ret->handle);
        ret->row = code == SQLITE_ROW ? 0 : -1;
        return failed(db, code);
}

/* row: 0 one was stepped to and not yet seen, 1 one has been seen, -1 no more. */
static int sqlite_next(struct db_rows *rows)
{
        int code;

        if (rows->row < 0)
                return 0;
        if (rows->row++ == 0)
                return 1;
        rows->row = 1;
        code = sqlite3_step(rows->handle);
        if (code == SQLITE_ROW)
                return 1;
        rows->row = -1;
        return failed(rows->db, code);
}

static int sqlite_changes(const struct db_rows *rows)
{
        return sqlite3_changes(sqlite_of(rows->db)->sqlite);
}

static void sqlite_done(struct db_rows *rows)
{
        if (rows->owned)
                sqlite3_finalize(rows->handle);
        else
                sqlite3_reset(rows->handle);
}

static void sqlite_get(const struct db_rows *rows, int column, struct db_value *ret)
{
        sqlite3_stmt *q = rows->handle;

        *ret = (struct db_value){0};
        switch (sqlite3_column_type(q, column)) { /* switch: not an enum */
        case SQLITE_INTEGER:
                *ret = (struct db_value){.type = 'i', .number = sqlite3_column_int64(q, column)};
                break;
        case SQLITE_TEXT:
                ret->type = 't';
                ret->data = sqlite3_column_text(q, column);
                break;
        case SQLITE_BLOB:
                ret->type = 'b';
                ret->data = sqlite3_column_blob(q, column) ?: "";
                break;
        }
        if (ret->data)
                ret->size = (size_t)sqlite3_column_bytes(q, column);
}

static int bulk_sql_make(struct db_sqlite *s, const struct db_table *t, size_t n)
{
        _cleanup_buf_ struct buf sql = {0};

        if (s->bulk_table == t)
                return 0;
        buf_addf(&sql, "INSERT INTO %s (%s) VALUES (", t->name, t->columns);
        for (size_t i = 1; i <= n; i++)
                buf_addf(&sql, "%s?%zu", i > 1 ? "," : "", i);
        buf_add_string(&sql, ")");
        if (buf_error(&sql) < 0)
                return buf_error(&sql);
        free(s->bulk_sql);
        s->bulk_sql = buf_take(&sql);
        s->bulk_table = t;
        return 0;
}

static int sqlite_bulk(struct db *db, const struct db_table *t, const struct db_value *row, size_t n)
{
        struct db_rows rows = {.db = db, .row = -1};
        int r = bulk_sql_make(sqlite_of(db), t, n);

        if (r == 0)
                r = sqlite_query(db, sqlite_of(db)->bulk_sql, row, n, &rows);
        if (rows.handle)
                sqlite_done(&rows);
        return r;
}

static int sqlite_flush(struct db *db)
{
        return 0;
}

static void sqlite_forget(struct db *db)
{
}

static int on_progress(void *userdata)
{
        const struct db_sqlite *s = userdata;

        return s->until_ms && clock_monotonic_ms() > s->until_ms;
}

static int sqlite_deadline(struct db *db, unsigned ms)
{
        struct db_sqlite *s = sqlite_of(db);

        s->deadline_ms = ms;
        sqlite3_progress_handler(s->sqlite, ms ? PROGRESS_STEPS : 0, on_progress, s);
        return 0;
}

/* After SQLITE_FULL, _IOERR or _NOMEM the whole transaction may be gone. */
static bool sqlite_in_transaction(const struct db *db)
{
        return !sqlite3_get_autocommit(sqlite_of(db)->sqlite);
}

static void sqlite_free(struct db *db)
{
        db_statements_drop(db, statement_drop);
        sqlite3_close(sqlite_of(db)->sqlite);
        free(sqlite_of(db)->bulk_sql);
        free(db);
}

static const struct db_driver sqlite_driver = {
        .free = sqlite_free,
        .script = sqlite_script,
        .query = sqlite_query,
        .next = sqlite_next,
        .changes = sqlite_changes,
        .done = sqlite_done,
        .get = sqlite_get,
        .bulk = sqlite_bulk,
        .flush = sqlite_flush,
        .forget = sqlite_forget,
        .deadline = sqlite_deadline,
        .in_transaction = sqlite_in_transaction,
        .begin = "BEGIN IMMEDIATE",
};

int db_sqlite_open(const char *path, unsigned flags, struct db **ret, struct diag *reterr)
{
        struct db_sqlite *s = calloc(1, sizeof(*s));
        int code, r, how = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;

        if (!s)
                return -ENOMEM;
        s->base = (struct db){.driver = &sqlite_driver, .kind = DB_SQLITE, .read_only = flags & DB_READ_ONLY};
        how |= flags & DB_READ_ONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
        how |= flags & DB_CREATE ? SQLITE_OPEN_CREATE : 0;
        code = sqlite3_open_v2(path, &s->sqlite, how, NULL);
        r = code == SQLITE_NOMEM ? -ENOMEM : failed(&s->base, code);
        if (r == 0) {
                sqlite3_busy_timeout(s->sqlite, BUSY_MS);
                /* secure_delete: what was erased is overwritten in the file, too */
                r = sqlite_script(&s->base, flags & DB_READ_ONLY
                                                    ? "PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY"
                                                    : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                                      "PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON;"
                                                      "PRAGMA wal_autocheckpoint = 4000;"
                                                      "PRAGMA journal_size_limit = 67108864;"
                                                      "PRAGMA cache_size = -32768");
        }
        if (r < 0) {
                diag_set(reterr, r, path, 0, "cannot open the database: %s",
                         s->sqlite ? sqlite3_errmsg(s->sqlite) : strerror(-r));
                sqlite_free(&s->base);
                return r;
        }
        *ret = &s->base;
        return 0;
}
