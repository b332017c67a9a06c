/* SPDX-License-Identifier: GPL-3.0-or-later */
/* flip-rows WHERE STEP FIRST: of all bytes of all evidence in a collector's database it changes every STEP-th, from number FIRST
 * on, and deletes each row, one at a time, and prints "TABLE COLUMN KEY… OFFSET: what check says first". Nothing is committed. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "collector/check.h"

#define CELLS_MAX 4096
#define KEYS      3

static const struct table {
        const char *name, *keys[KEYS], *types, *columns[28];
} tables[] = {
        {"record",
         {"device", "seq"},
         "iiiittttttttitttiiitbbbi",
         {"device", "seq",   "time_ms",       "received_ms", "kind", "channel",   "channel_name", "class",
          "tier",   "layer", "outcome",       "verdict",     "uid",  "user_name", "program",      "program_name",
          "port",   "count", "policy_serial", "entry",       "hash", "salt",      "body",         "month"}},
        {"seal",
         {"device", "first"},
         "iiibbbtiiii",
         {"device", "first", "n", "prev", "head", "signature", "boot", "received_ms", "log", "leaf", "gone"}},
        {"log_leaf", {"log", "number"}, "iib", {"log", "number", "entry"}},
        {"log_tile", {"log", "level", "number"}, "iiib", {"log", "level", "number", "hashes"}},
        {"log", {"number"}, "ittt", {"number", "origin", "vkey", "note"}},
        {"admin_audit",
         {"number"},
         "iitttbii",
         {"number", "time_ms", "who", "action", "detail", "salt", "log", "leaf"}},
        {"device", {"number"}, "iitbib", {"number", "branch_first", "id", "public_key", "next_seq", "head"}},
};

struct cell {
        int64_t key[KEYS], number;
        size_t size;
        uint8_t bytes[8192];
};

static struct db *db;
static size_t step, turn; /* how many bytes to go */

static void found(const char *text, void *userdata)
{
        char *first = userdata;

        if (!*first)
                snprintf(first, 512, "%s", text);
}

static void judge(const struct table *t, const char *column, const struct cell *c, size_t offset, int changed)
{
        char first[512] = "";
        struct check check = {.db = db, .found = found, .userdata = first};

        if (changed < 0)
                snprintf(first, sizeof(first), "refused by the database");
        else if (changed != 1)
                snprintf(first, sizeof(first), "CHANGED %d ROWS", changed);
        else if (check_database(&check) < 0)
                snprintf(first, sizeof(first), "cannot be read: %s", db_error(db));
        db_rollback(db);
        printf("%s %s", t->name, column);
        for (size_t i = 0; i < KEYS && t->keys[i]; i++)
                printf(" %" PRId64, c->key[i]);
        printf(" %zu: %s\n", offset, *first ? first : "holds");
}

static void where(struct buf *sql, const struct table *t, const struct cell *c)
{
        for (size_t i = 0; i < KEYS && t->keys[i]; i++)
                buf_addf(sql, "%s %s = %" PRId64, i ? " AND" : " WHERE", t->keys[i], c->key[i]);
        buf_add(sql, "", 1);
}

static void flip(const struct table *t, size_t column, struct cell *c)
{
        const char type[] = {t->types[column], '\0'};

        for (size_t i = 0; i < (*type == 'i' ? 1 : c->size); i++) {
                _cleanup_buf_ struct buf sql = {0};
                const uint8_t bit = *type == 't' ? 1 : (uint8_t)(1 << i % 8);
                int r;

                if (turn-- > 0)
                        continue;
                turn = step - 1;
                buf_addf(&sql, "UPDATE %s SET %s = $1", t->name, t->columns[column]);
                where(&sql, t, c);
                c->bytes[i] ^= bit;
                if (*type == 'i')
                        r = db_run(db, (const char *)sql.data, type, c->number + 1);
                else if (*type == 't')
                        r = db_run(db, (const char *)sql.data, type, (const char *)c->bytes);
                else
                        r = db_run(db, (const char *)sql.data, type, c->bytes, c->size);
                c->bytes[i] ^= bit;
                judge(t, t->columns[column], c, i, r);
        }
}

/* The cells of a column, before any is changed; NULL has no byte. */
static size_t read_cells(const struct table *t, size_t column, struct cell *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        _cleanup_buf_ struct buf sql = {0};
        size_t n = 0, keys = 0;

        buf_addf(&sql, "SELECT %s", t->columns[column]);
        for (; keys < KEYS && t->keys[keys]; keys++)
                buf_addf(&sql, ", %s", t->keys[keys]);
        buf_addf(&sql, " FROM %s WHERE %s IS NOT NULL ORDER BY %s", t->name, t->columns[column], t->keys[keys - 1]);
        buf_add(&sql, "", 1);
        if (db_query(db, (const char *)sql.data, &q, "") < 0)
                return 0;
        while (n < CELLS_MAX && db_next(&q) > 0) {
                struct cell *c = &ret[n++];
                const void *data;

                *c = (struct cell){.number = t->types[column] == 'i' ? db_int(&q, 0) : 0};
                for (size_t i = 0; i < keys; i++)
                        c->key[i] = db_int(&q, 1 + (int)i);
                if (t->types[column] == 'i')
                        continue;
                data = t->types[column] == 't' ? db_text(&q, 0) : db_blob(&q, 0, &c->size);
                c->size = t->types[column] == 't' ? strlen(data) : c->size;
                if (c->size >= sizeof(c->bytes))
                        c->size = sizeof(c->bytes) - 1;
                memcpy(c->bytes, data, c->size);
        }
        return n;
}

static void drop(const struct table *t, const struct cell *c)
{
        _cleanup_buf_ struct buf sql = {0};

        buf_addf(&sql, "DELETE FROM %s", t->name);
        where(&sql, t, c);
        judge(t, "*", c, 0, db_run(db, (const char *)sql.data, ""));
}

int main(int argc, char **argv)
{
        struct cell *cells = calloc(CELLS_MAX, sizeof(*cells));
        struct diag d = {0};

        step = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
        if (step == 0 || !cells || sodium_init() < 0 || db_open(argv[1], 0, &db, &d) < 0) {
                fprintf(stderr, "flip-rows: %s\n", d.text);
                return 2;
        }
        turn = strtoul(argv[3], NULL, 10) % step;
        for (const struct table *t = tables; t < tables + ELEMENTSOF(tables); t++) {
                size_t n = 0;

                for (size_t column = 0; t->columns[column]; column++) {
                        n = read_cells(t, column, cells);
                        for (size_t i = 0; i < n; i++)
                                flip(t, column, &cells[i]);
                }
                n = read_cells(t, 0, cells);
                for (size_t i = 0; i < n; i++)
                        drop(t, &cells[i]);
        }
        db_free(db);
        free(cells);
        return 0;
}
