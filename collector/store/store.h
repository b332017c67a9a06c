/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the collector keeps, in SQLite or PostgreSQL (db.h, which also has the errors). Writes of one loop turn
 * share a transaction: nothing is durable, and nothing may be acknowledged, before store_commit() has returned 0.
 *
 * Two connections, one thread each: the loop's for what is written and looked up by key, the worker's for
 * searches, which see what has been committed. Times are UTC milliseconds since 1970. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/diag.h"
#include "collector/store/db.h"
#include "record/chain.h"

#define STORE_HASH_SIZE 32
#define STORE_NAME_MAX  64 /* bytes of a device's or user's name, with the NUL */
#define SEARCH_MS       5000 /* the longest that one statement of a search may take */
#define PAGE_MS         30 /* after that a page is as long as it is */
#define COUNT_MS        15 /* after that the number is a lower bound */

struct store_device {
        int64_t number; /* the store's own, small and stable */
        char id[DEVICE_ID_MAX];
        char name[STORE_NAME_MAX];
        uint8_t public_key[DEVICE_KEY_SIZE];
        uint64_t next_seq;
        uint8_t head[CHAIN_HASH_SIZE];
        uint64_t enrolled_ms, last_seen_ms, retired_ms;
        uint8_t certificate_hash[STORE_HASH_SIZE]; /* of the certificate in use */
        uint64_t certificate_ms; /* since when */
        uint8_t issued_hash[STORE_HASH_SIZE]; /* of the next one, not used yet; all 0: none */
        uint64_t revoked_ms; /* its key never comes back */
        const char *status; /* JSON or NULL; only in store_devices(), until the callback returns */
};

struct store_enrol {
        const char *id, *name;
        const uint8_t *public_key, *token_hash, *certificate_hash; /* token_hash NULL: a firm's certificate vouches */
        uint64_t now_ms;
};

struct store_row {
        int64_t device_number;
        const char *device, *device_name;
        uint64_t seq, time_ms, received_ms;
        const char *kind; /* "violation", "coverage" */
        const char *channel, *channel_name, *class, *tier, *layer, *outcome, *verdict;
        const char *user;
        int64_t uid; /* -1: none */
        const char *program, *remote;
        uint64_t port, count, policy_serial;
        const char *entry;
        const uint8_t *hash, *salt; /* NULL in store_violations() */
        const char *body; /* the record's bytes; NULL in store_violations() */
        size_t body_size;
        uint64_t erased_ms; /* since when salt and body are gone; 0: they are there */
        const uint8_t *commitment; /* C of chain.h, of an erased record */
};

struct store_batch {
        int64_t device; /* store_device.number */
        const char *boot;
        uint64_t received_ms;
        const struct chain_seal *seal;
        const struct store_row *rows; /* seal->n; device fields are not read */
};

/* Records by what they are about; NULL, 0: any. */
struct store_selection {
        const char *device; /* id or name */
        const char *user, *channel;
        uint64_t from_ms, to_ms; /* from <= time < to */
};

struct store_hold {
        int64_t number;
        const char *reason, *who;
        struct store_selection what;
        uint64_t time_ms, released_ms; /* 0: in force */
};

struct store_cursor {
        uint64_t time_ms;
        int64_t device;
        uint64_t seq;
};

/* NULL: not asked for. Of violations; coverage is not searched. */
struct store_filter {
        uint64_t from_ms, to_ms; /* from <= time < to */
        const char *device; /* id or name */
        const char *user, *channel, *class, *tier, *layer, *outcome;
        const char *program; /* a path, or a base name when it has no '/' */
        bool has_before;
        struct store_cursor before; /* only rows behind this one */
        unsigned limit;
};

enum store_facet {
        FACET_CHANNEL,
        FACET_DEVICE, /* names */
        FACET_USER,
        _FACET_MAX,
};

struct store_user {
        char name[STORE_NAME_MAX];
        char role[16]; /* "auditor", "admin" */
        char password[128]; /* crypto_pwhash_str() */
};

struct store_session {
        char user[STORE_NAME_MAX];
        char role[16];
        uint64_t expires_ms;
};

struct store_audit {
        uint64_t time_ms;
        const char *who; /* a user's name, a device id, "command line" */
        const char *action;
        const char *detail; /* or NULL */
};

/* Return negative to end the search with that. */
typedef int (*store_row_fn)(const struct store_row *row, void *userdata);
typedef int (*store_device_fn)(const struct store_device *d, void *userdata);
typedef int (*store_hold_fn)(const struct store_hold *h, void *userdata);
typedef int (*store_facet_fn)(const char *value, void *userdata);

struct store;

enum store_flags {
        STORE_CREATE = 1, /* tables where there are none */
        STORE_MIGRATE = 2, /* older tables, too */
};
/* `where`: a file's path or postgresql://…; store_free() it. -EPROTONOSUPPORT made by a newer version,
 * -ENOPKG by an older one, -ENOENT there is none; *reterr says what to do. */
int store_open(const char *where, unsigned flags, struct store **ret, struct diag *reterr);
void store_free(struct store *s); /* accepts NULL */
DEFINE_CLEANUP(struct store, store_free)
/* For tables of other modules: the loop's connection, and the worker's. */
struct db *store_db(struct store *s);
struct db *store_reader(struct store *s);
/* Of the loop's connection: db_may_connect(). */
void store_may_connect(struct store *s, bool may);
/* 0 when there was nothing to commit; on failure all writes since the last one are undone */
int store_commit(struct store *s);

int store_token_add(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], unsigned uses, uint64_t expires_ms);
/* Who enrols with it under this name replaces the device that has it. */
int store_token_replaces(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], const char *name);
/* Takes one use of the token. The same device key may use its token again (a lost answer). A firm's certificate, or a
 * token made for that, retires the device that had the name. 1: so it did.
 * -EACCES token unknown, used up, expired; -EEXIST another device has the name; -EKEYREVOKED the device's key was. */
int store_device_enrol(struct store *s, const struct store_enrol *e);
int store_device_get(struct store *s, const char *id, struct store_device *ret); /* -ENOENT */
/* By id or name; its name is free again. -ENOENT */
int store_device_retire(struct store *s, const char *name, uint64_t now_ms);
/* The same, and its key never enrols again; by its id also one that is retired. -ENOENT */
int store_device_revoke(struct store *s, const char *name, uint64_t now_ms);
/* ---- branches.c: another history of a device, brought by a third ---- */
struct store_branch {
        const struct store_device *of, *by;
        const struct chain_seal *seal; /* over its first records, where there is no such branch yet */
        uint64_t now_ms;
};
/* 1: the device has these very records, or had them. */
int store_has_batch(struct store *s, int64_t device, const struct chain_seal *seal);
/* 1: it begins behind a record of the device. */
int store_follows(struct store *s, const struct store_device *d, const struct chain_seal *seal);
/* The row to append to; 1: it is new. -EACCES it contradicts nothing that the device has said so far, -EDQUOT the device has BRANCHES_MAX. */
int store_branch(struct store *s, const struct store_branch *b, struct store_device *ret);
/* Ids of those that were retired since. */
int store_retired_since(struct store *s, uint64_t since_ms, store_facet_fn fn, void *userdata);
/* A renewal: issued, then used for the first time. */
int store_device_issue(struct store *s, int64_t device, const uint8_t hash[static STORE_HASH_SIZE]);
int store_device_adopt(struct store *s, int64_t device, const uint8_t hash[static STORE_HASH_SIZE], uint64_t now_ms);
/* A boot in which the device runs. 1: another one began after this one did. */
int store_boot_note(struct store *s, int64_t device, const char *boot, uint64_t now_ms);
/* Devices not retired that were not heard of since. */
int store_unseen(struct store *s, uint64_t since_ms, uint64_t *ret);
int store_device_seen(struct store *s, const char *id, uint64_t now_ms);
int store_device_status(struct store *s, int64_t device, const char *json);

/* Moves the device's head from seal->prev to seal->head in one conditional update.
 * -EALREADY all of it is kept already, -ESTALE it does not begin at next_seq,
 * -EILSEQ a fork: other records are kept under these numbers. */
int store_append(struct store *s, const struct store_batch *b);

int store_user_set(struct store *s, const struct store_user *u); /* adds or replaces, and ends their sessions */
int store_user_remove(struct store *s, const char *name); /* and their sessions; -ENOENT */
typedef int (*store_user_fn)(const struct store_user *u, void *userdata); /* without the password */
int store_users(struct store *s, store_user_fn fn, void *userdata);
int store_user_get(struct store *s, const char *name, struct store_user *ret); /* -ENOENT */
int store_session_add(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], const char *user,
                      uint64_t expires_ms);
int store_session_get(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], uint64_t now_ms,
                      struct store_session *ret); /* -ENOENT */
int store_session_delete(struct store *s, const uint8_t hash[static STORE_HASH_SIZE]);
/* Who did what: append only. */
int store_audit_add(struct store *s, const struct store_audit *a);
/* What agents are sent, part by part (collector/api/offer.h has their names); the caller commits. */
typedef int (*store_part_fn)(const char *part, const char *json, void *userdata);
int store_bundle_put(struct store *s, const char *part, const char *json);
int store_bundle_get(struct store *s, const char *part, char **ret_json); /* free(); -ENOENT */
int store_bundle_remove(struct store *s, const char *part); /* -ENOENT */
int store_bundle_version(struct store *s, int64_t *ret); /* another one after each change */
int store_bundle_each(struct store *s, store_part_fn fn, void *userdata);
/* Housekeeping, now and then: expired sessions and tokens; the next month's partition. */
int store_tidy(struct store *s, uint64_t now_ms);

/* ---- how long records stay: rules.c, retention.c, erase.c ----
 * Months are those of receipt. Erased: salt, bytes and what was searched are gone; place, hash and commitment stay,
 * so that the chain and the log over it can be verified as before. */
#define STORE_MONTHS_MAX 1200
#define STORE_RULES_MAX  100
struct store_rule {
        int64_t number;
        const char *class, *channel; /* NULL: any. What is no violation has neither. */
        const char *device; /* an id, or a pattern of names with '*' and '?'; NULL: any */
        unsigned months; /* kept after the month of receipt; 0: for ever */
};
typedef int (*store_rule_fn)(const struct store_rule *rule, void *userdata);
/* Replaces the rule about the same; the caller commits. -E2BIG too many. */
int store_rule_set(struct store *s, const struct store_rule *rule);
int store_rule_remove(struct store *s, int64_t number); /* the caller commits; -ENOENT */
/* Of those that fit a record the first one holds; without any it stays for ever. */
int store_rules(struct store *s, store_rule_fn fn, void *userdata);
/* What store_purge() would take, by rule and month; 0 is the month of what was kept for a hold, its rule's time being
 * over. `more` is looked at as if it were set, with number 0; NULL. */
struct store_due {
        int64_t rule, month;
        uint64_t n_gone, n_held;
};
typedef int (*store_due_fn)(const struct store_due *due, void *userdata);
int store_due(struct store *s, uint64_t now_ms, const struct store_rule *more, store_due_fn fn, void *userdata);
struct store_purge {
        int64_t month; /* 0: there was nothing to do */
        uint64_t n_gone, n_held;
        bool more; /* call again */
};
/* Removes what is too old, at most about `max` records a call where they are removed one by one. This and what follows
 * commits by itself. */
int store_purge(struct store *s, uint64_t now_ms, unsigned max, struct store_purge *ret);
int store_hold_add(struct store *s, const struct store_hold *h, int64_t *ret_number);
int store_hold_release(struct store *s, int64_t number, uint64_t now_ms); /* -ENOENT */
int store_holds(struct store *s, store_hold_fn fn, void *userdata);
/* Not what is under a hold: that is counted in *ret_held. -ENOENT no such device. */
int store_erase(struct store *s, const struct store_selection *what, uint64_t now_ms, uint64_t *ret_erased,
                uint64_t *ret_held);
/* What was erased leaves SQLite's write-ahead log as well; with PostgreSQL nothing is done. Outside of transactions.
 * -EBUSY somebody reads for longer than that is waited for. */
int store_scrub(struct store *s);

/* What the collector concluded: one for each kind, device and place. */
struct store_finding {
        uint64_t time_ms;
        const char *kind, *device; /* the device's id */
        uint64_t place; /* a sequence number, a log's size, a time */
        const char *body; /* OCSF JSON */
        uint64_t ended_ms; /* 0: it goes on, or has no end */
};
typedef int (*store_finding_fn)(const struct store_finding *f, void *userdata);
/* 1 it is new, 0 known. */
int store_finding_add(struct store *s, const struct store_finding *f);
/* Ends findings of a kind about devices that were heard of since. */
int store_finding_end(struct store *s, const char *kind, uint64_t since_ms, uint64_t now_ms);
/* Devices heard of last before that, about whom there is no such finding yet; not their status. */
int store_silent(struct store *s, const char *kind, uint64_t before_ms, store_device_fn fn, void *userdata);

/* ---- searches, on the worker's connection ---- */
int store_devices(struct store *s, store_device_fn fn, void *userdata); /* not retired */
int store_devices_replaced(struct store *s, store_device_fn fn, void *userdata);
int store_records(struct store *s, int64_t device, uint64_t first, uint64_t n, store_row_fn fn, void *userdata);
/* The seal over a record: -ENOENT. */
struct store_totals {
        uint64_t devices, silent; /* not retired; of these, heard of last before a time */
        uint64_t unlogged; /* batches that are in no log yet */
        uint64_t bytes; /* of the database */
};
int store_totals(struct store *s, uint64_t silent_before_ms, struct store_totals *ret);
int store_finding_count(struct store *s, const char *kind, uint64_t *ret);
/* The latest 200. */
int store_findings(struct store *s, store_finding_fn fn, void *userdata);
/* Batches that are in no log yet. */
int store_unlogged(struct store *s, uint64_t *ret);
/* Where the batch of a record is in a log; the entry is appended. -ENOENT. */
int store_leaf_get(struct store *s, int64_t device, uint64_t seq, int64_t *ret_log, int64_t *ret_number,
                   struct buf *ret_entry);
int store_seal_get(struct store *s, int64_t device, uint64_t seq, struct chain_seal *ret);
/* Newest first, at most filter->limit rows; fewer when PAGE_MS are over. *ret_more: there may be others, behind
 * *ret_end. */
int store_violations(struct store *s, const struct store_filter *f, store_row_fn fn, void *userdata,
                     struct store_cursor *ret_end, bool *ret_more);
/* Of all pages, up to max; *ret_exact is false when there are or may be more. */
int store_count(struct store *s, const struct store_filter *f, uint64_t max, uint64_t *ret, bool *ret_exact);
/* Violations under one policy since a time: those let through, for a trial in mode monitor, and the others. */
struct store_serial_count {
        uint64_t passed, stopped;
};
int store_serial_count(struct store *s, uint64_t serial, uint64_t since_ms, struct store_serial_count *ret);
/* Requests for exemptions since then, newest first, with their bytes. */
int store_requests(struct store *s, uint64_t since_ms, unsigned max, store_row_fn fn, void *userdata);
/* What an approver answered; another answer to the same request replaces it. */
struct store_answer {
        int64_t device;
        uint64_t seq, time_ms;
        const char *who, *exemption, *reason; /* exemption NULL: declined */
};
typedef int (*store_answer_fn)(const struct store_answer *a, void *userdata);
int store_answer_add(struct store *s, const struct store_answer *a); /* on the loop's connection */
int store_answers(struct store *s, uint64_t since_ms, unsigned max, store_answer_fn fn, void *userdata);
/* Coverage records of a device by time, from <= time < to, and before them the last one that is older. */
struct store_span {
        uint64_t from_ms, to_ms;
};
int store_coverage(struct store *s, int64_t device, const struct store_span *span, store_row_fn fn, void *userdata);
/* As store_bundle_each(): the parts whose names begin so. */
int store_bundle_read(struct store *s, const char *prefix, store_part_fn fn, void *userdata);
/* In the database's order, from the text `from` on ("": all): a thousand channels at most, a hundred of the others. */
int store_facet(struct store *s, enum store_facet which, const char *from, store_facet_fn fn, void *userdata);
