/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The SQL, all of it but the searches that query.c puts together from constant parts. */
#include "collector/store/sqlite.h"

/* Each index on violations ends in the keyset of a page, (time_ms, device, seq), and leaves
 * coverage out, which is most of the records of a quiet device. */
#define VIOLATION_INDEX(column)                                                                                      \
        "CREATE INDEX record_" column " ON record (" column ", time_ms, device, seq) "                               \
        "WHERE kind = 'violation';"

/* clang-format off */
const char *const sqlite_schema =
        "CREATE TABLE device ("
        "  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
        "  public_key BLOB NOT NULL, certificate_hash BLOB NOT NULL, token_hash BLOB NOT NULL,"
        "  next_seq INTEGER NOT NULL, head BLOB NOT NULL, boot TEXT, status TEXT,"
        "  enrolled_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, retired_ms INTEGER"
        ") STRICT;"
        "CREATE UNIQUE INDEX device_name ON device (name) WHERE retired_ms IS NULL;"
        "CREATE TABLE record ("
        "  device INTEGER NOT NULL, seq INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
        "  received_ms INTEGER NOT NULL, kind TEXT NOT NULL, channel TEXT, channel_name TEXT,"
        "  class TEXT, tier TEXT, layer TEXT, outcome TEXT, verdict TEXT, user TEXT, uid INTEGER,"
        "  program TEXT, program_name TEXT, remote TEXT, port INTEGER NOT NULL, count INTEGER NOT NULL,"
        "  policy_serial INTEGER NOT NULL, entry TEXT,"
        "  hash BLOB NOT NULL, salt BLOB NOT NULL, body BLOB NOT NULL"
        ") STRICT;"
        "CREATE UNIQUE INDEX record_place ON record (device, seq);"
        "CREATE INDEX record_time ON record (time_ms, device, seq) WHERE kind = 'violation';"
        "CREATE INDEX record_device ON record (device, time_ms, seq) WHERE kind = 'violation';"
        VIOLATION_INDEX("channel")
        VIOLATION_INDEX("user")
        VIOLATION_INDEX("class")
        VIOLATION_INDEX("tier")
        VIOLATION_INDEX("layer")
        VIOLATION_INDEX("outcome")
        VIOLATION_INDEX("program_name")
        "CREATE TABLE seal ("
        "  device INTEGER NOT NULL, first INTEGER NOT NULL, n INTEGER NOT NULL, prev BLOB NOT NULL,"
        "  head BLOB NOT NULL, signature BLOB NOT NULL, boot TEXT, received_ms INTEGER NOT NULL,"
        "  PRIMARY KEY (device, first)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE token ("
        "  hash BLOB NOT NULL PRIMARY KEY, uses INTEGER NOT NULL, expires_ms INTEGER NOT NULL"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE user ("
        "  name TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE session ("
        "  hash BLOB NOT NULL PRIMARY KEY, user TEXT NOT NULL, expires_ms INTEGER NOT NULL"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE admin_audit ("
        "  number INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, who TEXT NOT NULL,"
        "  action TEXT NOT NULL, detail TEXT"
        ") STRICT;";
/* clang-format on */

#define DEVICE_COLUMNS                                                                                               \
        "number, id, name, public_key, next_seq, head, enrolled_ms, last_seen_ms, ifnull(retired_ms, 0)"

const char *const sqlite_statements[_SQL_MAX] = {
        [SQL_BEGIN] = "BEGIN IMMEDIATE",
        [SQL_COMMIT] = "COMMIT",
        [SQL_ROLLBACK] = "ROLLBACK",
        [SQL_SAVEPOINT] = "SAVEPOINT one",
        [SQL_RELEASE] = "RELEASE one",
        [SQL_ROLLBACK_TO] = "ROLLBACK TO one",
        [SQL_TOKEN_ADD] = "INSERT INTO token (hash, uses, expires_ms) VALUES (?, ?, ?)",
        [SQL_TOKEN_USE] = "UPDATE token SET uses = uses - 1 WHERE hash = ? AND uses > 0 AND expires_ms > ?",
        [SQL_DEVICE_ADD] = "INSERT INTO device (id, name, public_key, certificate_hash, token_hash, next_seq, head,"
                           " enrolled_ms, last_seen_ms) VALUES (?, ?, ?, ?, ?, 1, ?, ?7, ?7)",
        [SQL_DEVICE_RENEW] = "UPDATE device SET name = ?2, certificate_hash = ?3, token_hash = ?4, last_seen_ms = ?5,"
                             " retired_ms = NULL WHERE id = ?1",
        [SQL_DEVICE_GET] = "SELECT " DEVICE_COLUMNS ", token_hash FROM device WHERE id = ?",
        [SQL_DEVICE_RETIRE] = "UPDATE device SET retired_ms = ?2 WHERE (id = ?1 OR name = ?1) AND retired_ms IS NULL",
        [SQL_DEVICE_SEEN] = "UPDATE device SET last_seen_ms = max(last_seen_ms, ?2) WHERE id = ?1",
        [SQL_DEVICE_STATUS] = "UPDATE device SET status = ?2 WHERE number = ?1",
        [SQL_DEVICE_MOVE] = "UPDATE device SET next_seq = ?4, head = ?5, boot = ?6, last_seen_ms = ?7"
                            " WHERE number = ?1 AND next_seq = ?2 AND head = ?3",
        [SQL_SEAL_ADD] = "INSERT INTO seal (device, first, n, prev, head, signature, boot, received_ms)"
                         " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [SQL_RECORD_ADD] =
                "INSERT INTO record (device, seq, time_ms, received_ms, kind, channel, channel_name, class, tier,"
                " layer, outcome, verdict, user, uid, program, program_name, remote, port, count, policy_serial,"
                " entry, hash, salt, body) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,nullif(?,-1),?,?,?,?,?,?,?,?,?,?)",
        [SQL_RECORD_HASH] = "SELECT hash FROM record WHERE device = ? AND seq = ?",
        [SQL_USER_SET] = "INSERT INTO user (name, role, password) VALUES (?, ?, ?)"
                         " ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password",
        [SQL_SESSION_ADD] = "INSERT INTO session (hash, user, expires_ms) VALUES (?, ?, ?)",
        [SQL_SESSION_DELETE] = "DELETE FROM session WHERE hash = ?",
        [SQL_AUDIT_ADD] = "INSERT INTO admin_audit (time_ms, who, action, detail) VALUES (?, ?, ?, ?)",
        [SQL_SESSIONS_EXPIRE] = "DELETE FROM session WHERE expires_ms <= ?",
        [SQL_TOKENS_EXPIRE] = "DELETE FROM token WHERE expires_ms <= ?",
        [SQL_DEVICES] =
                "SELECT " DEVICE_COLUMNS ", status FROM device WHERE retired_ms IS NULL ORDER BY name LIMIT 20000",
        [SQL_RECORDS] =
                "SELECT r.device, d.id, d.name, r.seq, r.time_ms, r.received_ms, r.kind, r.channel, r.channel_name,"
                " r.class, r.tier, r.layer, r.outcome, r.verdict, r.user, ifnull(r.uid, -1), r.program, r.remote,"
                " r.port, r.count, r.policy_serial, r.entry, r.hash, r.salt, r.body"
                " FROM record r JOIN device d ON d.number = r.device"
                " WHERE r.device = ? AND r.seq >= ? AND r.seq < ? ORDER BY r.seq",
        [SQL_SEAL_GET] = "SELECT first, n, prev, head, signature FROM seal"
                         " WHERE device = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        [SQL_USER_GET] = "SELECT name, role, password FROM user WHERE name = ?",
        [SQL_SESSION_GET] = "SELECT u.name, u.role, s.expires_ms FROM session s JOIN user u ON u.name = s.user"
                            " WHERE s.hash = ? AND s.expires_ms > ?",
};
