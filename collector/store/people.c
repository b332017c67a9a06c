/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Users, their sessions, and what they did. */
#include <errno.h>
#include "base/cleanup.h"
#include "collector/store/sqlite.h"

int sqlite_user_set(struct store *base, const struct store_user *u)
{
        int r = sqlite_run(sqlite_of(base), SQL_USER_SET, "ttt", u->name, u->role, u->password);

        return r < 0 ? r : 0;
}

int sqlite_user_get(struct store *base, const char *name, struct store_user *ret)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        struct store_user u;
        int r = sqlite_prepare(sqlite_of(base), SQL_USER_GET, &q, "t", name);

        if (r < 0 || (r = sqlite_step(q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        if (column_copy(q, 0, u.name, sizeof(u.name)) < 0 || column_copy(q, 1, u.role, sizeof(u.role)) < 0 ||
            column_copy(q, 2, u.password, sizeof(u.password)) < 0)
                return -EUCLEAN;
        *ret = u;
        return 0;
}

int sqlite_session_add(struct store *base, const uint8_t hash[static STORE_HASH_SIZE], const char *user,
                       uint64_t expires_ms)
{
        int r = sqlite_run(sqlite_of(base), SQL_SESSION_ADD, "bti", hash, (size_t)STORE_HASH_SIZE, user,
                           (int64_t)expires_ms);

        return r < 0 ? r : 0;
}

int sqlite_session_get(struct store *base, const uint8_t hash[static STORE_HASH_SIZE], uint64_t now_ms,
                       struct store_session *ret)
{
        _cleanup_reset_ sqlite3_stmt *q = NULL;
        struct store_session found;
        int r = sqlite_prepare(sqlite_of(base), SQL_SESSION_GET, &q, "bi", hash, (size_t)STORE_HASH_SIZE,
                               (int64_t)now_ms);

        if (r < 0 || (r = sqlite_step(q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        if (column_copy(q, 0, found.user, sizeof(found.user)) < 0 ||
            column_copy(q, 1, found.role, sizeof(found.role)) < 0)
                return -EUCLEAN;
        found.expires_ms = (uint64_t)sqlite3_column_int64(q, 2);
        *ret = found;
        return 0;
}

int sqlite_session_delete(struct store *base, const uint8_t hash[static STORE_HASH_SIZE])
{
        int r = sqlite_run(sqlite_of(base), SQL_SESSION_DELETE, "b", hash, (size_t)STORE_HASH_SIZE);

        return r < 0 ? r : 0;
}

int sqlite_audit_add(struct store *base, const struct store_audit *a)
{
        int r = sqlite_run(sqlite_of(base), SQL_AUDIT_ADD, "ittt", (int64_t)a->time_ms, a->who, a->action, a->detail);

        return r < 0 ? r : 0;
}

int sqlite_tidy(struct store *base, uint64_t now_ms)
{
        struct sqlite_store *s = sqlite_of(base);
        int r = sqlite_run(s, SQL_SESSIONS_EXPIRE, "i", (int64_t)now_ms);

        if (r >= 0)
                r = sqlite_run(s, SQL_TOKENS_EXPIRE, "i", (int64_t)now_ms);
        return r < 0 ? r : 0;
}
