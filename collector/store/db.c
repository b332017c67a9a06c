/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What both drivers share: parameters, columns, the transaction, kept statements. */
#include "collector/store/db.h"
#include <errno.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "base/clock.h"
#include "base/text.h"
#include "collector/store/db-private.h"

#define CAREFUL_MS 60000

int db_failed(struct db *db, int r, const char *text)
{
        snprintf(db->error, sizeof(db->error), "%.*s", (int)strcspn(text, "\n"), text);
        return r;
}

const char *db_error(const struct db *db)
{
        return db->error;
}

enum db_kind db_kind(const struct db *db)
{
        return db->kind;
}

bool db_is_url(const char *where)
{
        return text_starts_with(where, "postgresql://") || text_starts_with(where, "postgres://");
}

void db_describe(const char *where, char *ret, size_t size)
{
        const char *scheme = db_is_url(where) ? strstr(where, "://") + 3 : NULL;
        const char *at = scheme ? strchr(scheme, '@') : NULL;
        const char *colon = at ? memchr(scheme, ':', (size_t)(at - scheme)) : NULL;
        const char *query = scheme ? strchr(scheme, '?') : NULL; /* may hold password= */

        snprintf(ret, size, "%.*s%.*s", colon ? (int)(colon - where) : 0, where,
                 query ? (int)(query - (colon ? at : where)) : (int)strlen(colon ? at : where), colon ? at : where);
}

int db_open(const char *where, unsigned flags, struct db **ret, struct diag *reterr)
{
        return db_is_url(where) ? db_postgres_open(where, flags, ret, reterr)
                                : db_sqlite_open(where, flags, ret, reterr);
}

void db_free(struct db *db)
{
        if (!db)
                return;
        db->driver->forget(db);
        db->driver->free(db);
}

void db_may_connect(struct db *db, bool may)
{
        db->no_connect = !may;
}

void db_stop_on(struct db *db, const bool *stop)
{
        db->stop = stop;
}

int db_set_deadline(struct db *db, unsigned ms)
{
        return db->driver->deadline(db, ms);
}

/* ---- kept statements ---- */

static int statement_compare(const void *a, const void *b)
{
        return strcmp(((const struct db_statement *)a)->sql, ((const struct db_statement *)b)->sql);
}

void db_statements_drop(struct db *db, void (*drop)(struct db *db, void *handle))
{
        while (db->statements) {
                struct db_statement *s = *(struct db_statement **)db->statements;

                tdelete(s, &db->statements, statement_compare);
                drop(db, s->handle);
                free((char *)s->sql);
                free(s);
        }
        db->n_statements = 0;
}

struct db_statement *db_statement(struct db *db, const char *sql, void (*drop)(struct db *db, void *handle))
{
        struct db_statement *new,
                **found = tfind(&(struct db_statement){.sql = sql}, &db->statements, statement_compare);

        if (found)
                return *found;
        if (db->n_statements >= DB_STATEMENTS_MAX)
                db_statements_drop(db, drop);
        new = calloc(1, sizeof(*new));
        if (!new)
                return NULL;
        new->sql = strdup(sql);
        if (!new->sql || !tsearch(new, &db->statements, statement_compare)) {
                free((char *)new->sql);
                free(new);
                return NULL;
        }
        db->n_statements++;
        return new;
}

/* ---- transactions ---- */

/* After an error: has the transaction survived it? */
static int after(struct db *db, int r)
{
        if (r < 0 && db->in_transaction && !db->broken && !db->driver->in_transaction(db))
                db->broken = r;
        return r;
}

bool db_in_transaction(const struct db *db)
{
        return db->in_transaction;
}

int db_script(struct db *db, const char *sql)
{
        return after(db, db->driver->script(db, sql));
}

int db_begin(struct db *db)
{
        int r;

        if (db->broken)
                return db->broken;
        if (db->in_transaction)
                return 0;
        r = db->driver->script(db, db->driver->begin);
        db->in_transaction = r >= 0;
        return r < 0 ? r : 0;
}

void db_rollback(struct db *db)
{
        char why[DB_ERROR_MAX];

        memcpy(why, db->error, sizeof(why));
        db->driver->forget(db);
        if (db->in_transaction)
                (void)db->driver->script(db, "ROLLBACK");
        memcpy(db->error, why, sizeof(why));
        db->in_transaction = false;
        db->broken = 0;
}

int db_flush(struct db *db)
{
        return db->broken ? db->broken : after(db, db->driver->flush(db));
}

int db_commit(struct db *db)
{
        int r;

        if (!db->in_transaction)
                return 0;
        r = db_flush(db);
        if (r == 0)
                r = db->driver->in_transaction(db) ? db->driver->script(db, "COMMIT") : -EIO;
        if (r == -EEXIST)
                db->careful_ms = clock_monotonic_ms() + CAREFUL_MS;
        if (r < 0)
                db_rollback(db);
        db->in_transaction = false;
        db->broken = 0;
        return r < 0 ? r : 0;
}

/* PostgreSQL is spared the round trips as long as nothing goes wrong: what a caller refuses by itself fails
 * before it has written, and what the server refuses in a COPY makes the next commits careful. */
static bool is_careful(const struct db *db)
{
        return db->careful_ms && clock_monotonic_ms() < db->careful_ms;
}

int db_savepoint(struct db *db)
{
        bool wanted = db->kind == DB_SQLITE || is_careful(db);
        int r = db_begin(db);

        if (r == 0 && wanted)
                r = db_flush(db);
        if (r == 0 && wanted)
                r = after(db, db->driver->script(db, "SAVEPOINT part"));
        db->in_part = r == 0 && wanted;
        db->n_writes_before = db->n_writes;
        return r;
}

int db_release(struct db *db, int r)
{
        /* without a savepoint half a part cannot be undone alone */
        if (!db->in_part && r < 0 && db->n_writes != db->n_writes_before && !db->broken)
                db->broken = r;
        if (!db->in_part || db->broken)
                return r;
        db->in_part = false;
        if (r >= 0) {
                int flushed = db->driver->flush(db);

                r = flushed < 0 ? flushed : r;
        }
        if (r < 0) {
                db->driver->forget(db);
                if (db->driver->script(db, "ROLLBACK TO part") < 0)
                        db->broken = r;
        }
        if (!db->broken)
                (void)after(db, db->driver->script(db, "RELEASE part"));
        return r;
}

/* ---- statements ---- */

static size_t values_take(const char *types, va_list list, struct db_value *ret)
{
        size_t n = 0;

        for (; *types; types++) {
                struct db_value *v = &ret[n++];

                *v = (struct db_value){.type = *types};
                if (*types == 'i') {
                        v->number = va_arg(list, int64_t);
                } else {
                        v->data = va_arg(list, const void *);
                        v->size = *types == 'b' ? va_arg(list, size_t) : v->data ? strlen(v->data) : 0;
                        if (!v->data)
                                v->type = 0;
                }
        }
        return n;
}

static bool only_reads(const char *sql)
{
        return strncasecmp(sql, "SELECT", 6) == 0 || strncasecmp(sql, "WITH", 4) == 0 ||
               strncasecmp(sql, "EXPLAIN", 7) == 0 || strncasecmp(sql, "PRAGMA", 6) == 0;
}

int db_query_values(struct db *db, const char *sql, struct db_rows *ret, const struct db_value *v, size_t n)
{
        int r = 0;

        if (db->watch)
                db->watch(db, sql, v, n);
        if (!only_reads(sql))
                r = db_begin(db);
        else if (db->broken)
                r = db->broken;
        *ret = (struct db_rows){.db = db, .row = -1};
        return r < 0 ? r : after(db, db->driver->query(db, sql, v, n, ret));
}

static int query_list(struct db *db, const char *sql, struct db_rows *ret, const char *types, va_list list)
{
        struct db_value v[DB_VALUES_MAX];

        return db_query_values(db, sql, ret, v, values_take(types, list, v));
}

int db_query(struct db *db, const char *sql, struct db_rows *ret, const char *types, ...)
{
        va_list list;
        int r;

        va_start(list, types);
        r = query_list(db, sql, ret, types, list);
        va_end(list);
        return r;
}

int db_next(struct db_rows *rows)
{
        return after(rows->db, rows->db->driver->next(rows));
}

void db_rows_done(struct db_rows *rows)
{
        if (rows->db && rows->handle)
                rows->db->driver->done(rows);
        rows->handle = NULL;
}

int db_run(struct db *db, const char *sql, const char *types, ...)
{
        _cleanup_rows_ struct db_rows rows = {0};
        va_list list;
        int r;

        va_start(list, types);
        r = query_list(db, sql, &rows, types, list);
        va_end(list);
        while (r >= 0 && (r = db_next(&rows)) > 0)
                continue;
        if (r < 0)
                return r;
        r = db->driver->changes(&rows);
        db->n_writes += r > 0;
        return r;
}

int db_number(struct db *db, const char *sql, int64_t *ret, const char *types, ...)
{
        _cleanup_rows_ struct db_rows rows = {0};
        va_list list;
        int r;

        va_start(list, types);
        r = query_list(db, sql, &rows, types, list);
        va_end(list);
        if (r < 0 || (r = db_next(&rows)) <= 0)
                return r;
        *ret = db_int(&rows, 0);
        return 1;
}

int db_bulk(struct db *db, const struct db_table *t, const struct db_value *row)
{
        int r = db_begin(db);

        db->n_writes++;
        return r < 0 ? r : after(db, db->driver->bulk(db, t, row, strlen(t->types)));
}

/* ---- columns ---- */

int64_t db_int(const struct db_rows *rows, int column)
{
        struct db_value v;

        rows->db->driver->get(rows, column, &v);
        return v.type == 'i' ? v.number : 0;
}

const char *db_text(const struct db_rows *rows, int column)
{
        struct db_value v;

        rows->db->driver->get(rows, column, &v);
        return v.type ? v.data : NULL;
}

const void *db_blob(const struct db_rows *rows, int column, size_t *ret_size)
{
        struct db_value v;

        rows->db->driver->get(rows, column, &v);
        *ret_size = v.type ? v.size : 0;
        return v.type ? v.data : NULL;
}

int db_bytes(const struct db_rows *rows, int column, uint8_t *ret, size_t size)
{
        size_t n;
        const void *data = db_blob(rows, column, &n);

        if (!data || n != size)
                return -EUCLEAN;
        memcpy(ret, data, size);
        return 0;
}

int db_copy(const struct db_rows *rows, int column, char *ret, size_t size)
{
        const char *text = db_text(rows, column);

        if (!text || strlen(text) >= size)
                return -EUCLEAN;
        strcpy(ret, text);
        return 0;
}
