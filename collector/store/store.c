/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "collector/store/private.h"
#include "collector/store/schema.h"

#define BOOTS_KEPT_MS (90ll * 86400 * 1000) /* of devices */

void store_free(struct store *s)
{
        if (!s)
                return;
        db_free(s->read);
        db_free(s->write);
        free(s);
}

struct db *store_db(struct store *s)
{
        return s->write;
}

struct db *store_reader(struct store *s)
{
        return s->read;
}

void store_may_connect(struct store *s, bool may)
{
        db_may_connect(s->write, may);
}

int store_commit(struct store *s)
{
        int r = db_commit(s->write);

        if (r < 0)
                s->month = 0; /* its partition went as well, perhaps */
        return r;
}

static int schema_check(struct db *db, unsigned flags, struct diag *reterr)
{
        int version = 0, r = schema_get_version(db, &version);

        if (r < 0)
                return diag_set(reterr, r, NULL, 0, "cannot read the database: %s", db_error(db));
        if (version > schema_version)
                return diag_set(reterr, -EPROTONOSUPPORT, NULL, 0,
                                "made by a newer version of onchannel-collector (tables %d, this one knows %d)",
                                version, schema_version);
        if (version == 0 && !(flags & STORE_CREATE))
                return diag_set(reterr, -ENOENT, NULL, 0,
                                "no collector has been initialised in this database: use 'init'");
        if (version > 0 && version < schema_version && !(flags & STORE_MIGRATE))
                return diag_set(reterr, -ENOPKG, NULL, 0,
                                "made by an older version (tables %d, this one needs %d): back it up, then run "
                                "'onchannel-collector migrate'",
                                version, schema_version);
        if (version == schema_version)
                return 0;
        r = schema_apply(db, schema_version);
        return r < 0 ? diag_set(reterr, r, NULL, 0, "cannot make the tables: %s", db_error(db)) : 0;
}

/* This month's partition and the next one's, before they are needed. */
static int months_prepare(struct store *s, uint64_t now_ms)
{
        int64_t month = schema_month(now_ms);
        int r;

        if (s->month == month)
                return 0;
        r = schema_partition(s->write, month);
        if (r == 0)
                r = schema_partition(s->write, month % 100 == 12 ? month + 89 : month + 1);
        if (r == 0)
                s->month = month;
        return r;
}

int store_open(const char *where, unsigned flags, struct store **ret, struct diag *reterr)
{
        _cleanup_(store_freep) struct store *s = calloc(1, sizeof(*s));
        char shown[DIAG_FILE_MAX];
        int r;

        if (!s)
                return -ENOMEM;
        r = db_open(where, flags & STORE_CREATE ? DB_CREATE : 0, &s->write, reterr);
        if (r < 0)
                return r;
        r = schema_check(s->write, flags, reterr);
        if (r < 0) {
                db_describe(where, shown, sizeof(shown));
                if (reterr)
                        snprintf(reterr->file, sizeof(reterr->file), "%s", shown);
                return r;
        }
        r = months_prepare(s, (uint64_t)time(NULL) * 1000);
        if (r == 0)
                r = db_commit(s->write);
        if (r < 0)
                return diag_set(reterr, r, NULL, 0, "cannot make this month's tables: %s", db_error(s->write));
        r = db_open(where, DB_READ_ONLY, &s->read, reterr);
        if (r == 0)
                r = db_set_deadline(s->read, SEARCH_MS);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

int store_tidy(struct store *s, uint64_t now_ms)
{
        int r = db_run(s->write, "DELETE FROM session WHERE expires_ms <= $1", "i", (int64_t)now_ms);

        if (r >= 0)
                r = db_run(s->write, "DELETE FROM token WHERE expires_ms <= $1", "i", (int64_t)now_ms);
        if (r >= 0)
                r = db_run(s->write, "DELETE FROM device_boot WHERE first_ms <= $1", "i",
                           (int64_t)now_ms - BOOTS_KEPT_MS);
        if (r >= 0)
                r = months_prepare(s, now_ms);
        return r < 0 ? r : 0;
}
