/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers over all of the store, for whoever watches it. */
#include "collector/store/private.h"

int store_totals(struct store *s, uint64_t silent_before_ms, struct store_totals *ret)
{
        int64_t devices = 0, silent = 0, unlogged = 0, bytes = 0;
        int r = db_number(s->read, "SELECT count(*) FROM device WHERE retired_ms IS NULL", &devices, "");

        if (r >= 0)
                r = db_number(s->read, "SELECT count(*) FROM device WHERE retired_ms IS NULL AND last_seen_ms < $1",
                              &silent, "i", (int64_t)silent_before_ms);
        if (r >= 0)
                r = db_number(s->read, "SELECT count(*) FROM seal WHERE leaf IS NULL", &unlogged, "");
        if (r >= 0)
                r = db_number(s->read,
                              db_kind(s->read) == DB_SQLITE
                                      ? "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
                                      : "SELECT pg_database_size(current_database())",
                              &bytes, "");
        if (r < 0)
                return r;
        *ret = (struct store_totals){(uint64_t)devices, (uint64_t)silent, (uint64_t)unlogged, (uint64_t)bytes};
        return 0;
}

int store_finding_count(struct store *s, const char *kind, uint64_t *ret)
{
        int64_t n = 0;
        int r = db_number(s->read, "SELECT count(*) FROM finding WHERE kind = $1", &n, "t", kind);

        *ret = (uint64_t)n;
        return r < 0 ? r : 0;
}
