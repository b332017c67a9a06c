/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Users, their sessions, and what they did. */
#include <errno.h>
#include "collector/store/private.h"

static int end_sessions(struct store *s, const char *user)
{
        return db_run(s->write, "DELETE FROM session WHERE account = $1", "t", user);
}

int store_user_set(struct store *s, const struct store_user *u)
{
        int r = db_run(s->write,
                       "INSERT INTO account (name, role, password) VALUES ($1, $2, $3)"
                       " ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password",
                       "ttt", u->name, u->role, u->password);

        if (r >= 0)
                r = end_sessions(s, u->name);
        return r < 0 ? r : 0;
}

int store_user_remove(struct store *s, const char *name)
{
        int r = end_sessions(s, name);

        if (r >= 0)
                r = db_run(s->write, "DELETE FROM account WHERE name = $1", "t", name);
        return r < 0 ? r : r > 0 ? 0 : -ENOENT;
}

int store_users(struct store *s, store_user_fn fn, void *userdata)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct store_user u = {0};
        int r = db_query(s->write, "SELECT name, role FROM account ORDER BY name", &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0) {
                if (db_copy(&q, 0, u.name, sizeof(u.name)) < 0 || db_copy(&q, 1, u.role, sizeof(u.role)) < 0)
                        return -EUCLEAN;
                r = fn(&u, userdata);
        }
        return r < 0 ? r : 0;
}

int store_user_get(struct store *s, const char *name, struct store_user *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct store_user u;
        int r = db_query(s->write, "SELECT name, role, password FROM account WHERE name = $1", &q, "t", name);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        if (db_copy(&q, 0, u.name, sizeof(u.name)) < 0 || db_copy(&q, 1, u.role, sizeof(u.role)) < 0 ||
            db_copy(&q, 2, u.password, sizeof(u.password)) < 0)
                return -EUCLEAN;
        *ret = u;
        return 0;
}

int store_session_add(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], const char *user,
                      uint64_t expires_ms)
{
        int r = db_run(s->write, "INSERT INTO session (hash, account, expires_ms) VALUES ($1, $2, $3)", "bti", hash,
                       (size_t)STORE_HASH_SIZE, user, (int64_t)expires_ms);

        return r < 0 ? r : 0;
}

int store_session_get(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], uint64_t now_ms,
                      struct store_session *ret)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct store_session found;
        int r = db_query(s->write,
                         "SELECT a.name, a.role, s.expires_ms FROM session s JOIN account a ON a.name = s.account"
                         " WHERE s.hash = $1 AND s.expires_ms > $2",
                         &q, "bi", hash, (size_t)STORE_HASH_SIZE, (int64_t)now_ms);

        if (r < 0 || (r = db_next(&q)) < 0)
                return r;
        if (r == 0)
                return -ENOENT;
        if (db_copy(&q, 0, found.user, sizeof(found.user)) < 0 || db_copy(&q, 1, found.role, sizeof(found.role)) < 0)
                return -EUCLEAN;
        found.expires_ms = (uint64_t)db_int(&q, 2);
        *ret = found;
        return 0;
}

int store_session_delete(struct store *s, const uint8_t hash[static STORE_HASH_SIZE])
{
        int r = db_run(s->write, "DELETE FROM session WHERE hash = $1", "b", hash, (size_t)STORE_HASH_SIZE);

        return r < 0 ? r : 0;
}

int store_audit_add(struct store *s, const struct store_audit *a)
{
        int r = db_run(s->write, "INSERT INTO admin_audit (time_ms, who, action, detail) VALUES ($1, $2, $3, $4)",
                       "ittt", (int64_t)a->time_ms, a->who, a->action, a->detail);

        return r < 0 ? r : 0;
}
