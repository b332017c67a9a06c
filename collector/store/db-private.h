/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Between db.c and the two drivers. */
#include "collector/store/db.h"

struct db_driver {
        void (*free)(struct db *db);
        int (*script)(struct db *db, const char *sql);
        /* Binds; where the driver knows no other way, runs it to the end. */
        int (*query)(struct db *db, const char *sql, const struct db_value *v, size_t n, struct db_rows *ret);
        int (*next)(struct db_rows *rows);
        int (*changes)(const struct db_rows *rows);
        void (*done)(struct db_rows *rows);
        /* type 0: NULL; text ends with NUL */
        void (*get)(const struct db_rows *rows, int column, struct db_value *ret);
        int (*bulk)(struct db *db, const struct db_table *t, const struct db_value *row, size_t n);
        int (*flush)(struct db *db);
        void (*forget)(struct db *db); /* rows of db_bulk() that were not flushed */
        int (*deadline)(struct db *db, unsigned ms);
        /* False: the server or SQLite has ended the transaction by itself. */
        bool (*in_transaction)(const struct db *db);
        const char *begin;
};

#define DB_ERROR_MAX 256

struct db {
        const struct db_driver *driver;
        enum db_kind kind;
        bool read_only, in_transaction, in_part, no_connect;
        const bool *stop; /* db_stop_on() */
        uint64_t careful_ms; /* until then: a commit was refused for its content, so find out whose it is */
        uint64_t n_writes, n_writes_before; /* now; at the savepoint */
        /* Sees each query before it is asked; of tests. */
        void (*watch)(struct db *db, const char *sql, const struct db_value *v, size_t n);
        int broken; /* why the open transaction cannot be committed any more */
        char error[DB_ERROR_MAX];
        void *statements; /* tsearch(3): struct statement of the driver, by text */
        size_t n_statements;
};
#define DB_STATEMENTS_MAX 256 /* prepared at once; searches have many forms */

int db_sqlite_open(const char *path, unsigned flags, struct db **ret, struct diag *reterr);
int db_postgres_open(const char *url, unsigned flags, struct db **ret, struct diag *reterr);
/* First line of `text` into db->error; returns r. */
int db_failed(struct db *db, int r, const char *text);

/* ---- prepared statements by their text ---- */
struct db_statement {
        const char *sql; /* owned */
        void *handle; /* of the driver */
};
/* The one kept for this text, or a new one without a handle; NULL without memory. `drop` frees a handle. */
struct db_statement *db_statement(struct db *db, const char *sql, void (*drop)(struct db *db, void *handle));
void db_statements_drop(struct db *db, void (*drop)(struct db *db, void *handle));
