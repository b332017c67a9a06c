/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What agents are sent: parts, each a text. A number in `setting` grows with each change, so that collectors that
 * share the database, and one beside which a command changes it, see one by one look-up. */
#include <errno.h>
#include <string.h>
#include "collector/store/private.h"

static int version_grow(struct store *s)
{
        return db_run(s->write,
                      "INSERT INTO setting (name, value) VALUES ('bundle', '1') ON CONFLICT (name) DO UPDATE"
                      " SET value = CAST(CAST(setting.value AS INTEGER) + 1 AS TEXT)",
                      "");
}

int store_bundle_put(struct store *s, const char *part, const char *json)
{
        int r = db_run(s->write,
                       "INSERT INTO bundle (part, json, version) VALUES ($1, $2, 1)"
                       " ON CONFLICT (part) DO UPDATE SET json = excluded.json, version = bundle.version + 1",
                       "tt", part, json);

        if (r >= 0)
                r = version_grow(s);
        return r < 0 ? r : 0;
}

int store_bundle_get(struct store *s, const char *part, char **ret_json)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->write, "SELECT json FROM bundle WHERE part = $1", &q, "t", part);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r < 0 ? r : -ENOENT;
        return (*ret_json = strdup(db_text(&q, 0))) ? 0 : -ENOMEM;
}

int store_bundle_remove(struct store *s, const char *part)
{
        int r = db_run(s->write, "DELETE FROM bundle WHERE part = $1", "t", part);

        if (r == 0)
                return -ENOENT;
        if (r > 0)
                r = version_grow(s);
        return r < 0 ? r : 0;
}

int store_bundle_version(struct store *s, int64_t *ret)
{
        int r = db_number(s->write, "SELECT CAST(value AS INTEGER) FROM setting WHERE name = 'bundle'", ret, "");

        if (r == 0)
                *ret = 0;
        return r < 0 ? r : 0;
}

int store_bundle_each(struct store *s, store_part_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = db_query(s->write, "SELECT part, json FROM bundle ORDER BY part", &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0)
                r = fn(db_text(&q, 0), db_text(&q, 1), userdata);
        return r < 0 ? r : 0;
}
