/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A thin layer over SQLite and PostgreSQL, so that each query is written once, in SQL that both take:
 * parameters $1…, ON CONFLICT, RETURNING, coalesce(), row values. What they do not share is here and
 * in schema.c.
 *
 * One transaction is open at a time: the first statement that writes begins it, db_commit() ends it,
 * and nothing is durable before that has returned 0. A struct db belongs to one thread.
 *
 * Errors: -ENOSPC full, -EBUSY held by somebody else, -ETIME took longer than allowed, -EEXIST a
 * constraint refuses it, -EUCLEAN damaged, -EACCES no right, -ENOTCONN the server is away (the next
 * call tries again), -ENOENT no such database, -EIO anything else; db_error() has the words. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/diag.h"

enum db_kind {
        DB_SQLITE,
        DB_POSTGRES,
        _DB_KIND_MAX,
};

enum db_flags {
        DB_CREATE = 1, /* a SQLite file that is not there */
        DB_READ_ONLY = 2,
};

struct db;
/* `where`: a file's path, or postgresql://… as libpq takes it. *reterr.file never holds a password. */
int db_open(const char *where, unsigned flags, struct db **ret, struct diag *reterr);
void db_free(struct db *db); /* accepts NULL; undoes what was not committed */
DEFINE_CLEANUP(struct db, db_free)
enum db_kind db_kind(const struct db *db);
/* What the last failed call met, one line. */
const char *db_error(const struct db *db);
bool db_is_url(const char *where);
/* `where` without the password of a URL, for messages. */
void db_describe(const char *where, char *ret, size_t size);

/* For programs of PostgreSQL that are run next: where and as whom, as variables of the environment. */
int db_environment(const char *url);

/* A server that does not answer, neither this connection nor a new one, loses its connection: -ENOTCONN, and what was
 * not committed is undone. Where waiting holds up others, any answer that takes longer than this does that. */
#define DB_LOOP_MS 2000
/* May a call open a connection that was lost, and wait as long as the server answers anybody? As it is opened: yes.
 * Else one waits DB_LOOP_MS at most. */
void db_may_connect(struct db *db, bool may);
/* Nothing waits for the server any more once *stop is true, which another thread may make it (atomically). NULL: none. */
void db_stop_on(struct db *db, const bool *stop);

/* How long one statement may take; 0: for ever. For readers only. */
int db_set_deadline(struct db *db, unsigned ms);

/* ---- statements ----
 * A parameter a letter: i int64_t; t const char *, NULL is NULL; b const void *, size_t, where a NULL pointer is NULL. */
struct db_value {
        char type; /* 'i', 't', 'b'; 0: NULL */
        int64_t number;
        const void *data;
        size_t size;
};
#define DB_VALUES_MAX 48

/* Returns how many rows it changed. */
int db_run(struct db *db, const char *sql, const char *types, ...);

/* Parameters must live until db_rows_done(). PostgreSQL sends all rows before the first is seen: bound them
 * with LIMIT. */
struct db_rows {
        struct db *db;
        void *handle;
        int row;
        bool owned; /* of the driver */
};
int db_query(struct db *db, const char *sql, struct db_rows *ret, const char *types, ...);
int db_query_values(struct db *db, const char *sql, struct db_rows *ret, const struct db_value *v, size_t n);
/* 1: the next row is there, 0: no more. */
int db_next(struct db_rows *rows);
void db_rows_done(struct db_rows *rows);
#define _cleanup_rows_ _cleanup_(db_rows_done)
/* The only row's first column: 1, or 0 without a row. */
int db_number(struct db *db, const char *sql, int64_t *ret, const char *types, ...);

/* Columns from 0; pointers hold until the next db_next() or db_rows_done(). */
int64_t db_int(const struct db_rows *rows, int column); /* NULL: 0 */
const char *db_text(const struct db_rows *rows, int column); /* NULL for NULL */
const void *db_blob(const struct db_rows *rows, int column, size_t *ret_size); /* NULL for NULL */
/* Exactly `size` bytes; -EUCLEAN. */
int db_bytes(const struct db_rows *rows, int column, uint8_t *ret, size_t size);
/* Text into a bounded field; -EUCLEAN when it does not fit. */
int db_copy(const struct db_rows *rows, int column, char *ret, size_t size);

/* ---- many rows ----
 * INSERT into one table. PostgreSQL gets them by COPY with the commit: until db_flush() they cannot be read back,
 * and what is wrong with them shows there. `t` is static. */
struct db_table {
        const char *name, *columns; /* "a, b, c" */
        const char *types; /* a letter a column */
};
int db_bulk(struct db *db, const struct db_table *t, const struct db_value *row);
int db_flush(struct db *db);

/* ---- transactions ---- */
int db_begin(struct db *db); /* no more than the first writing statement does */
bool db_in_transaction(const struct db *db);
/* 0 when there was nothing to commit. On failure everything since the last one is undone. */
int db_commit(struct db *db);
void db_rollback(struct db *db);
/* A part that may fail alone: db_savepoint(), then db_release() with what came of it, which it returns. */
int db_savepoint(struct db *db);
int db_release(struct db *db, int r);

/* Statements without parameters, separated by ';'. */
int db_script(struct db *db, const char *sql);
