/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What agents are sent, for collectors that share a database. */
#include <errno.h>
#include <string.h>
#include "collector/store/private.h"

int store_bundle_put(struct store *s, const char *part, const char *json)
{
        int r = db_run(s->write,
                       "INSERT INTO bundle (part, json, version) VALUES ($1, $2, 1)"
                       " ON CONFLICT (part) DO UPDATE SET json = excluded.json, version = bundle.version + 1",
                       "tt", part, json);

        return r < 0 ? r : 0;
}

int store_bundle_get(struct store *s, const char *part, int64_t *version, char **ret_json)
{
        _cleanup_rows_ struct db_rows q = {0};
        char *json;
        int r = db_query(s->write, "SELECT version, json FROM bundle WHERE part = $1 AND version <> $2", &q, "ti",
                         part, *version);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r;
        json = strdup(db_text(&q, 1));
        if (!json)
                return -ENOMEM;
        *version = db_int(&q, 0);
        *ret_json = json;
        return 1;
}
