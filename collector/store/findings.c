/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the collector concluded, and where batches stand in a log. */
#include <errno.h>
#include "collector/store/private.h"

int store_finding_add(struct store *s, const struct store_finding *f)
{
        return db_run(s->write,
                      "INSERT INTO finding (time_ms, kind, device, place, body) VALUES ($1, $2, $3, $4, $5)"
                      " ON CONFLICT (kind, device, place) DO NOTHING",
                      "ittit", (int64_t)f->time_ms, f->kind, f->device, (int64_t)f->place, f->body);
}

int store_finding_end(struct store *s, const char *kind, uint64_t since_ms, uint64_t now_ms)
{
        int r = db_run(s->write,
                       "UPDATE finding SET ended_ms = $3 WHERE kind = $1 AND ended_ms IS NULL"
                       " AND device IN (SELECT id FROM device WHERE last_seen_ms >= $2)",
                       "tii", kind, (int64_t)since_ms, (int64_t)now_ms);

        return r < 0 ? r : 0;
}

int store_silent(struct store *s, const char *kind, uint64_t before_ms, store_device_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->write,
                         "SELECT d.id, d.name, d.last_seen_ms FROM device d WHERE d.retired_ms IS NULL"
                         " AND d.last_seen_ms < $1 AND NOT EXISTS (SELECT 1 FROM finding f WHERE f.kind = $2"
                         " AND f.device = d.id AND f.place = d.last_seen_ms) ORDER BY d.number LIMIT 1000",
                         &q, "it", (int64_t)before_ms, kind);

        while (r >= 0 && (r = db_next(&q)) > 0) {
                struct store_device d = {.last_seen_ms = (uint64_t)db_int(&q, 2)};

                r = db_copy(&q, 0, d.id, sizeof(d.id));
                if (r == 0)
                        r = db_copy(&q, 1, d.name, sizeof(d.name));
                if (r == 0)
                        r = fn(&d, userdata);
        }
        return r < 0 ? r : 0;
}

int store_findings(struct store *s, store_finding_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->read,
                         "SELECT time_ms, kind, device, place, body, coalesce(ended_ms, 0) FROM finding"
                         " ORDER BY time_ms DESC, number DESC LIMIT 200",
                         &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0)
                r = fn(&(struct store_finding){.time_ms = (uint64_t)db_int(&q, 0),
                                               .kind = db_text(&q, 1),
                                               .device = db_text(&q, 2),
                                               .place = (uint64_t)db_int(&q, 3),
                                               .body = db_text(&q, 4),
                                               .ended_ms = (uint64_t)db_int(&q, 5)},
                       userdata);
        return r < 0 ? r : 0;
}

int store_unlogged(struct store *s, uint64_t *ret)
{
        int64_t n = 0;
        int r = db_number(s->read, "SELECT count(*) FROM seal WHERE leaf IS NULL", &n, "");

        *ret = (uint64_t)n;
        return r < 0 ? r : 0;
}

int store_leaf_get(struct store *s, int64_t device, uint64_t seq, int64_t *ret_log, int64_t *ret_number,
                   struct buf *ret_entry)
{
        _cleanup_rows_ struct db_rows q = {0};
        const void *entry;
        size_t size = 0;
        int r = db_query(
                s->read,
                "SELECT s.log, s.leaf, l.entry FROM seal s JOIN log_leaf l ON l.log = s.log AND l.number = s.leaf"
                " WHERE s.device = $1 AND s.first <= $2 AND s.first + s.n > $2 ORDER BY s.first DESC LIMIT 1",
                &q, "ii", device, (int64_t)seq);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        *ret_log = db_int(&q, 0);
        *ret_number = db_int(&q, 1);
        entry = db_blob(&q, 2, &size);
        buf_add(ret_entry, entry, size);
        return buf_error(ret_entry);
}
