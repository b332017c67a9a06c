/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/store/schema.h"

/* Step 2. Each index that a search may choose ends in the keyset of a page, (time_ms, device, seq). Its
 * predicate follows from the condition by which it is chosen and from nothing else in the query, so that no
 * planner can take another one: see query.c. What is no violation has NULL in all these columns. */
#define SEARCH_INDEX(column)                                                                                         \
        "CREATE INDEX record_" column " ON record (" column ", time_ms, device, seq) WHERE " column " IS NOT NULL;"
#define SEARCH_INDEXES                                                                                               \
        "CREATE INDEX record_time ON record (time_ms, device, seq) WHERE kind = 'violation';"                        \
        "CREATE INDEX record_device ON record (device, time_ms, seq) WHERE class IS NOT NULL;" SEARCH_INDEX(         \
                "channel") SEARCH_INDEX("user_name") SEARCH_INDEX("class") SEARCH_INDEX("tier")                      \
                SEARCH_INDEX("layer") SEARCH_INDEX("outcome") SEARCH_INDEX("program_name")

/* clang-format off */
const struct schema_step schema_steps[] = {
        {/* 1: SQLite alone */
         .sqlite =
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
                ") STRICT;"},
        {/* 2: PostgreSQL begins here. `user` is a word of SQL; the month of receipt; what was erased. SQLite has
          * an index on the month in place of partitions: to drop a table costs it as much as to delete its rows,
          * and each search would go through a view of all months. */
         .sqlite =
                "ALTER TABLE user RENAME TO account;"
                "ALTER TABLE session RENAME COLUMN user TO account;"
                "ALTER TABLE record RENAME COLUMN user TO user_name;"
                "ALTER TABLE record ADD COLUMN month INTEGER NOT NULL DEFAULT 0;"
                "ALTER TABLE record ADD COLUMN erased_ms INTEGER;"
                "ALTER TABLE record ADD COLUMN commitment BLOB;"
                "UPDATE record SET channel = NULL, class = NULL, tier = NULL, layer = NULL, outcome = NULL,"
                "  user_name = NULL, program_name = NULL WHERE kind <> 'violation';"
                "UPDATE record SET month = CAST(strftime('%Y%m', received_ms / 1000, 'unixepoch') AS INTEGER);"
                "CREATE INDEX record_month ON record (month);"
                "DROP INDEX IF EXISTS record_time; DROP INDEX IF EXISTS record_device;"
                "DROP INDEX IF EXISTS record_channel; DROP INDEX IF EXISTS record_user;"
                "DROP INDEX IF EXISTS record_class; DROP INDEX IF EXISTS record_tier;"
                "DROP INDEX IF EXISTS record_layer; DROP INDEX IF EXISTS record_outcome;"
                "DROP INDEX IF EXISTS record_program_name;"
                SEARCH_INDEXES,
         .postgres =
                "CREATE TABLE device ("
                "  number SERIAL, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
                "  public_key BLOB NOT NULL, certificate_hash BLOB NOT NULL, token_hash BLOB NOT NULL,"
                "  next_seq INTEGER NOT NULL, head BLOB NOT NULL, boot TEXT, status TEXT,"
                "  enrolled_ms INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, retired_ms INTEGER"
                /* moving the head touches no index: room on the page keeps the new version there */
                ") WITH (fillfactor = 50);"
                "CREATE UNIQUE INDEX device_name ON device (name) WHERE retired_ms IS NULL;"
                "CREATE TABLE record ("
                "  device INTEGER NOT NULL, seq INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
                "  received_ms INTEGER NOT NULL, kind TEXT NOT NULL, channel TEXT, channel_name TEXT,"
                "  class TEXT, tier TEXT, layer TEXT, outcome TEXT, verdict TEXT, user_name TEXT, uid INTEGER,"
                "  program TEXT, program_name TEXT, remote TEXT, port INTEGER NOT NULL, count INTEGER NOT NULL,"
                "  policy_serial INTEGER NOT NULL, entry TEXT,"
                "  hash BLOB NOT NULL, salt BLOB NOT NULL, body BLOB NOT NULL,"
                "  month INTEGER NOT NULL, erased_ms INTEGER, commitment BLOB"
                ") PARTITION BY LIST (month);"
                /* 0: under legal hold when its month went; the other: should no month's be there in time */
                "CREATE TABLE record_0 PARTITION OF record FOR VALUES IN (0);"
                "CREATE TABLE record_other PARTITION OF record DEFAULT;"
                "CREATE UNIQUE INDEX record_place ON record (device, seq, month);"
                SEARCH_INDEXES
                "CREATE TABLE seal ("
                "  device INTEGER NOT NULL, first INTEGER NOT NULL, n INTEGER NOT NULL, prev BLOB NOT NULL,"
                "  head BLOB NOT NULL, signature BLOB NOT NULL, boot TEXT, received_ms INTEGER NOT NULL,"
                "  PRIMARY KEY (device, first));"
                "CREATE TABLE token ("
                "  hash BLOB NOT NULL PRIMARY KEY, uses INTEGER NOT NULL, expires_ms INTEGER NOT NULL);"
                "CREATE TABLE account ("
                "  name TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL);"
                "CREATE TABLE session ("
                "  hash BLOB NOT NULL PRIMARY KEY, account TEXT NOT NULL, expires_ms INTEGER NOT NULL);"
                "CREATE TABLE admin_audit ("
                "  number SERIAL, time_ms INTEGER NOT NULL, who TEXT NOT NULL,"
                "  action TEXT NOT NULL, detail TEXT);"},
        {/* 3: how long records are kept, and which longer */
         .both =
                "CREATE TABLE setting (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;"
                "CREATE TABLE hold ("
                "  number SERIAL, reason TEXT NOT NULL, device TEXT, user_name TEXT, channel TEXT,"
                "  from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, who TEXT NOT NULL, time_ms INTEGER NOT NULL,"
                "  released_ms INTEGER"
                ") STRICT;"},
        {/* 4: the Merkle log. What has no leaf yet is taken up from the index that leaves the rest out. */
         .both =
                "CREATE TABLE log ("
                "  number SERIAL, origin TEXT NOT NULL UNIQUE, vkey TEXT NOT NULL, note TEXT, time_ms INTEGER"
                ") STRICT;"
                "CREATE TABLE log_leaf ("
                "  log INTEGER NOT NULL, number INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (log, number)"
                ") STRICT;"
                "CREATE TABLE log_tile ("
                "  log INTEGER NOT NULL, level INTEGER NOT NULL, number INTEGER NOT NULL, hashes BLOB NOT NULL,"
                "  PRIMARY KEY (log, level, number)"
                ") STRICT;"
                "CREATE TABLE witness (name TEXT NOT NULL PRIMARY KEY, vkey TEXT NOT NULL, time_ms INTEGER NOT NULL) STRICT;"
                "CREATE TABLE cosignature ("
                "  log INTEGER NOT NULL, witness TEXT NOT NULL, size INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
                "  note TEXT NOT NULL, PRIMARY KEY (log, witness)"
                ") STRICT;"
                "CREATE TABLE finding ("
                "  number SERIAL, time_ms INTEGER NOT NULL, kind TEXT NOT NULL, device TEXT NOT NULL,"
                "  place INTEGER NOT NULL, body TEXT NOT NULL, ended_ms INTEGER"
                ") STRICT;"
                "CREATE UNIQUE INDEX finding_place ON finding (kind, device, place);"
                "ALTER TABLE seal ADD COLUMN log INTEGER;"
                "ALTER TABLE seal ADD COLUMN leaf INTEGER;"
                "CREATE INDEX seal_new ON seal (received_ms) WHERE leaf IS NULL;"
                "ALTER TABLE admin_audit ADD COLUMN log INTEGER;"
                "ALTER TABLE admin_audit ADD COLUMN leaf INTEGER;"
                "ALTER TABLE admin_audit ADD COLUMN salt BLOB;"
                "CREATE INDEX admin_audit_new ON admin_audit (number) WHERE leaf IS NULL;"},
        {/* 5: what agents are sent, where several collectors share the database */
         .both =
                "CREATE TABLE bundle ("
                "  part TEXT NOT NULL PRIMARY KEY, json TEXT NOT NULL, version INTEGER NOT NULL"
                ") STRICT;"},
        {/* 6: how far records were forwarded */
         .both =
                "CREATE TABLE forward_place ("
                "  name TEXT NOT NULL, device INTEGER NOT NULL, next_seq INTEGER NOT NULL, PRIMARY KEY (name, device)"
                ") STRICT;"
                "CREATE TABLE forward_state ("
                "  name TEXT NOT NULL PRIMARY KEY, sent INTEGER NOT NULL, refused INTEGER NOT NULL,"
                "  sent_ms INTEGER NOT NULL, problem TEXT NOT NULL, problem_ms INTEGER NOT NULL"
                ") STRICT;"},
        {/* 7: requests for exemptions and their answers; coverage by device and time */
         .both =
                "CREATE INDEX record_request ON record (time_ms, device, seq) WHERE kind = 'request';"
                "CREATE INDEX record_coverage ON record (device, time_ms, seq) WHERE kind = 'coverage';"
                "CREATE TABLE request_answer ("
                "  device INTEGER NOT NULL, seq INTEGER NOT NULL, time_ms INTEGER NOT NULL, who TEXT NOT NULL,"
                "  exemption TEXT, reason TEXT NOT NULL, PRIMARY KEY (device, seq)"
                ") STRICT;"},
        {/* 8: certificates that are renewed, devices that are replaced, revoked; boots, for two with one key */
         .both =
                "ALTER TABLE device ADD COLUMN issued_hash BLOB;"
                "ALTER TABLE device ADD COLUMN certificate_ms INTEGER;"
                "ALTER TABLE device ADD COLUMN revoked_ms INTEGER;"
                "ALTER TABLE device ADD COLUMN replaced_by TEXT;"
                "CREATE INDEX device_retired ON device (retired_ms) WHERE retired_ms IS NOT NULL;"
                "ALTER TABLE token ADD COLUMN replaces TEXT;"
                "CREATE TABLE device_boot ("
                "  device INTEGER NOT NULL, boot TEXT NOT NULL, first_ms INTEGER NOT NULL, PRIMARY KEY (device, boot)"
                ") STRICT;"},
        {/* 9: rules of retention, and how far a month was looked through for what is too old */
         .both =
                "CREATE TABLE retention_rule ("
                "  number SERIAL, class TEXT, channel TEXT, device TEXT, months INTEGER NOT NULL,"
                "  weight INTEGER NOT NULL"
                ") STRICT;"
                "CREATE TABLE retention_swept ("
                "  month INTEGER NOT NULL PRIMARY KEY, stage INTEGER NOT NULL, device INTEGER NOT NULL,"
                "  seq INTEGER NOT NULL, done INTEGER NOT NULL"
                ") STRICT;"
                "INSERT INTO retention_rule (months, weight) SELECT CAST(value AS INTEGER), 0 FROM setting"
                "  WHERE name = 'retention-months';"
                "DELETE FROM setting WHERE name = 'retention-months';"},
        {/* 10: branches: other histories of a device, by whom they came, and after what they begin */
         .both =
                "ALTER TABLE device ADD COLUMN branch_of INTEGER;"
                "ALTER TABLE device ADD COLUMN branch_by INTEGER;"
                "ALTER TABLE device ADD COLUMN branch_first INTEGER;"
                "ALTER TABLE device ADD COLUMN branch_prev BLOB;"
                "CREATE UNIQUE INDEX device_branch ON device (branch_of, branch_by) WHERE branch_of IS NOT NULL;"},
        {/* 11: a device by its name, retired or not */
         .both = "CREATE INDEX device_by_name ON device (name);"},
        {/* 12: which batches retention removed, or left under a hold: purges.h */
         .both = "ALTER TABLE seal ADD COLUMN gone INTEGER;"},
        {/* 13: with record_device and record_coverage each record by its device and time: export-batch.c. Next to nothing
          * is in it: requests, and what was erased. */
         .both = "CREATE INDEX record_rest ON record (device, time_ms, seq) WHERE class IS NULL AND kind <> 'coverage';"},
};
/* clang-format on */
const int schema_version = ELEMENTSOF(schema_steps);
