/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The tables, as numbered steps that are never changed once released: a new table or column is a new step at
 * the end of schema-steps.c. A step is written once for both databases: INTEGER is 64 bits wide, BLOB any bytes,
 * SERIAL a primary key that numbers itself; a step may have text for one of them alone. */
#include "collector/store/db.h"

struct schema_step {
        const char *both, *sqlite, *postgres; /* NULL: nothing */
};
extern const struct schema_step schema_steps[];
extern const int schema_version; /* how many steps there are */

/* 0: a database without tables. */
int schema_get_version(struct db *db, int *ret);
/* Steps up to `version`, one transaction each; several collectors may call it at once. */
int schema_apply(struct db *db, int version);
/* The month of a time, as 202611. */
int64_t schema_month(uint64_t time_ms);
/* PostgreSQL: the partition of a month, if it is not there yet. */
int schema_partition(struct db *db, int64_t month);
