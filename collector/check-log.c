/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The logs are hashed anew from their entries; every tile that is kept must be what comes of that. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/cleanup.h"
#include "collector/check.h"
#include "collector/log/log.h"

#define PAGE 500 /* rows at a time */

void check_problem(struct check *c, const char *format, ...)
{
        char text[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        c->problems++;
        c->found(text, c->userdata);
}

struct rehash {
        struct check *check;
        const struct tlog_head *head;
        struct merkle_edge edge;
};

/* The tile of the database, hash by hash: which entry's is it that differs? */
static int compare_tile(void *userdata, const struct merkle_tile *t, const uint8_t *hashes)
{
        struct rehash *r = userdata;
        _cleanup_rows_ struct db_rows q = {0};
        char path[MERKLE_PATH_MAX];
        const uint8_t *kept;
        size_t size = 0;
        int k = db_query(r->check->db, "SELECT hashes FROM log_tile WHERE log = $1 AND level = $2 AND number = $3",
                         &q, "iii", r->head->number, (int64_t)t->level, (int64_t)t->index);

        if (k < 0 || (k = db_next(&q)) < 0)
                return k;
        merkle_tile_path(t, path);
        kept = k > 0 ? db_blob(&q, 0, &size) : NULL;
        if (!kept || size < (size_t)t->width * MERKLE_HASH_SIZE) {
                check_problem(r->check, "log %s: %s is missing or too short", r->head->key.name, path);
                return 0;
        }
        for (unsigned i = 0; i < t->width; i++)
                if (memcmp(kept + (size_t)i * MERKLE_HASH_SIZE, hashes + (size_t)i * MERKLE_HASH_SIZE,
                           MERKLE_HASH_SIZE) != 0)
                        check_problem(r->check, "log %s: %s was changed at its hash %u, that of entry %llu",
                                      r->head->key.name, path, i,
                                      (unsigned long long)((t->index * MERKLE_TILE_HASHES + i) << (8 * t->level)));
        return 0;
}

/* Up to the checkpoint's size; 1 there are more. */
static int entries_page(struct rehash *r)
{
        _cleanup_rows_ struct db_rows q = {0};
        uint64_t before = r->edge.size, size = r->head->checkpoint.head.size;
        int k = db_query(r->check->db,
                         "SELECT number, entry FROM log_leaf WHERE log = $1 AND number >= $2 AND number < $3"
                         " ORDER BY number LIMIT 500",
                         &q, "iii", r->head->number, (int64_t)before, (int64_t)size);

        while (k >= 0 && (k = db_next(&q)) > 0) {
                uint8_t hash[MERKLE_HASH_SIZE];
                size_t n = 0;
                const void *entry = db_blob(&q, 1, &n);

                if ((uint64_t)db_int(&q, 0) != r->edge.size) {
                        check_problem(r->check, "log %s: entry %llu is missing", r->head->key.name,
                                      (unsigned long long)r->edge.size);
                        return 0;
                }
                merkle_leaf(entry, n, hash);
                k = merkle_edge_add(&r->edge, hash, compare_tile, r);
                r->check->entries++;
        }
        return k < 0 ? k : r->edge.size - before == PAGE;
}

static int check_root(struct check *c, const struct tlog_head *h)
{
        int r = tlog_contains(c->db, h, &h->checkpoint.head);

        if (r == -EILSEQ || r == -EUCLEAN) {
                check_problem(c, "log %s: the tiles do not lead to the root of its signed checkpoint", h->key.name);
                return 0;
        }
        return r;
}

static int check_log(struct check *c, int64_t number)
{
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        _cleanup_free_ struct rehash *r = NULL;
        int64_t known;
        int k = tlog_head_get(c->db, NULL, number, &h);

        if (k == -ENOENT)
                return 0;
        if (k == -EUCLEAN) {
                check_problem(c, "log %lld: its checkpoint or key was changed: the signature is wrong",
                              (long long)number);
                return 0;
        }
        r = k < 0 ? NULL : calloc(1, sizeof(*r));
        if (!r)
                return k < 0 ? k : -ENOMEM;
        k = db_number(c->db, "SELECT 1 FROM log WHERE number = $1 AND origin = $2", &known, "it", number, h.key.name);
        if (k == 0)
                check_problem(c, "log %s: its name was changed", h.key.name);
        if (k < 0)
                return k;
        r->check = c;
        r->head = &h;
        do
                k = entries_page(r);
        while (k > 0);
        if (k == 0 && r->edge.size < h.checkpoint.head.size)
                check_problem(c, "log %s: entries from %llu on are missing", h.key.name,
                              (unsigned long long)r->edge.size);
        else if (k == 0)
                k = merkle_edge_flush(&r->edge, compare_tile, r);
        return k < 0 ? k : check_root(c, &h);
}

int check_logs(struct check *c)
{
        int64_t numbers[64], gone;
        size_t n = 0;
        int r;

        {
                _cleanup_rows_ struct db_rows q = {0};

                r = db_query(c->db, "SELECT number FROM log ORDER BY number LIMIT 64", &q, "");
                while (r >= 0 && (r = db_next(&q)) > 0)
                        numbers[n++] = db_int(&q, 0);
        }
        for (size_t i = 0; i < n && r >= 0; i++)
                r = check_log(c, numbers[i]);
        if (r >= 0)
                r = db_number(c->db, "SELECT log FROM log_leaf WHERE log NOT IN (SELECT number FROM log) LIMIT 1",
                              &gone, "");
        if (r > 0)
                check_problem(c, "log %lld was removed, its entries are here", (long long)gone);
        return r < 0 ? r : 0;
}

/* ---- the audit table ---- */

static int audit_page(struct check *c, int64_t *after)
{
        _cleanup_rows_ struct db_rows q = {0};
        unsigned n = 0;
        int r = db_query(c->db,
                         "SELECT a.number, a.time_ms, a.who, a.action, a.detail, a.salt, l.entry FROM admin_audit a"
                         " LEFT JOIN log_leaf l ON l.log = a.log AND l.number = a.leaf"
                         " WHERE a.leaf IS NOT NULL AND a.number > $1 ORDER BY a.number LIMIT 500",
                         &q, "i", *after);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                _cleanup_buf_ struct buf line = {0}, entry = {0};
                uint8_t commitment[CHAIN_HASH_SIZE], salt[CHAIN_SALT_SIZE] = {0};
                size_t size = 0;
                const void *kept = db_blob(&q, 6, &size);

                *after = db_int(&q, 0);
                (void)db_bytes(&q, 5, salt, sizeof(salt));
                audit_line_format(&line, (uint64_t)*after, (uint64_t)db_int(&q, 1), db_text(&q, 2), db_text(&q, 3),
                                  db_text(&q, 4));
                chain_commit(salt, line.data, line.size, commitment);
                leaf_audit_format(&entry, (uint64_t)*after, commitment);
                if (buf_error(&line) < 0 || buf_error(&entry) < 0)
                        return -ENOMEM;
                if (!kept || size != entry.size || memcmp(kept, entry.data, size) != 0)
                        check_problem(c, "action %lld of the audit table is not what the log says it was",
                                      (long long)*after);
                c->audits++;
                n++;
        }
        return r < 0 ? r : n == PAGE;
}

/* An action that is in a log but not in the table any more. */
static int audit_missing(struct check *c)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(
                c->db,
                "SELECT l.log, l.number FROM log_leaf l WHERE NOT EXISTS (SELECT 1 FROM seal s WHERE s.log = l.log"
                " AND s.leaf = l.number) AND NOT EXISTS (SELECT 1 FROM admin_audit a WHERE a.log = l.log"
                " AND a.leaf = l.number) ORDER BY l.log, l.number LIMIT 1000",
                &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0)
                check_problem(c, "what entry %lld of log %lld was made for was removed from the database",
                              (long long)db_int(&q, 1), (long long)db_int(&q, 0));
        return r;
}

int check_audit(struct check *c)
{
        int64_t after = 0;
        int r;

        do
                r = audit_page(c, &after);
        while (r > 0);
        return r < 0 ? r : audit_missing(c);
}

bool check_purges_has(const struct check_purges *p, int64_t month)
{
        for (size_t i = 0; i < p->n_months; i++)
                if (p->months[i] == month)
                        return true;
        return false;
}

int check_purges_read(struct check *c, struct check_purges *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(c->db,
                         "SELECT number, detail FROM admin_audit WHERE who = 'retention' AND action = 'purge'"
                         " ORDER BY number",
                         &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct purge p;

                if (!purge_parse(db_text(&q, 1) ?: "", &p)) {
                        check_problem(c, "action %lld of the audit table does not say what retention removed",
                                      (long long)db_int(&q, 0));
                        continue;
                }
                if (p.whole && !check_purges_has(ret, p.month) && ret->n_months < STORE_MONTHS_MAX)
                        ret->months[ret->n_months++] = p.month;
                batches_join(&ret->gone, &p.gone);
                batches_join(&ret->held, &p.held);
        }
        return r;
}
