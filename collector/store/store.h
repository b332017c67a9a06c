/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the collector keeps, behind one table of functions so that another database can take
 * SQLite's place. Writes of one loop turn share a transaction: nothing is durable, and nothing
 * may be acknowledged, before commit() has returned 0. Reads by auditors go beside it.
 *
 * Common errors: -ENOSPC store full, -EBUSY another process holds it, -ETIME a search took
 * longer than SEARCH_MS, -EUCLEAN damaged. Times are UTC milliseconds since 1970. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/diag.h"
#include "record/chain.h"

#define STORE_HASH_SIZE 32
#define STORE_NAME_MAX  64 /* bytes of a device's or user's name, with the NUL */
#define SEARCH_MS       2000
#define COUNT_MS        200

struct store_device {
        int64_t number; /* the store's own, small and stable */
        char id[DEVICE_ID_MAX];
        char name[STORE_NAME_MAX];
        uint8_t public_key[DEVICE_KEY_SIZE];
        uint64_t next_seq;
        uint8_t head[CHAIN_HASH_SIZE];
        uint64_t enrolled_ms, last_seen_ms, retired_ms;
        const char *status; /* JSON or NULL; only in devices(), until the callback returns */
};

struct store_enrol {
        const char *id, *name;
        const uint8_t *public_key, *token_hash, *certificate_hash;
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
        const uint8_t *hash, *salt; /* NULL in violations() */
        const char *body; /* the record's bytes; NULL in violations() */
        size_t body_size;
};

struct store_batch {
        int64_t device; /* store_device.number */
        const char *boot;
        uint64_t received_ms;
        const struct chain_seal *seal;
        const struct store_row *rows; /* seal->n; device fields are not read */
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
typedef int (*store_facet_fn)(const char *value, void *userdata);

struct store {
        void (*free)(struct store *s);
        /* 0 when there was nothing to commit; on failure all writes since the last one are undone */
        int (*commit)(struct store *s);

        int (*token_add)(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], unsigned uses,
                         uint64_t expires_ms);
        /* Takes one use of the token. The same device key may use its token again (a lost answer).
         * -EACCES token unknown, used up, expired; -EEXIST another device has the name. */
        int (*device_enrol)(struct store *s, const struct store_enrol *e);
        int (*device_get)(struct store *s, const char *id, struct store_device *ret); /* -ENOENT */
        /* By id or name; its name is free again. -ENOENT */
        int (*device_retire)(struct store *s, const char *name, uint64_t now_ms);
        int (*device_seen)(struct store *s, const char *id, uint64_t now_ms);
        int (*device_status)(struct store *s, int64_t device, const char *json);
        int (*devices)(struct store *s, store_device_fn fn, void *userdata);

        /* Moves the device's head from seal->prev to seal->head in one conditional update.
         * -EALREADY all of it is kept already, -ESTALE it does not begin at next_seq,
         * -EILSEQ a fork: other records are kept under these numbers. */
        int (*append)(struct store *s, const struct store_batch *b);
        int (*records)(struct store *s, int64_t device, uint64_t first, uint64_t n, store_row_fn fn, void *userdata);
        /* The seal over a record: -ENOENT. */
        int (*seal_get)(struct store *s, int64_t device, uint64_t seq, struct chain_seal *ret);
        /* Newest first, at most filter->limit rows. */
        int (*violations)(struct store *s, const struct store_filter *f, store_row_fn fn, void *userdata);
        /* Up to max; *ret_exact is false when there are more or COUNT_MS did not suffice. */
        int (*count)(struct store *s, const struct store_filter *f, uint64_t max, uint64_t *ret, bool *ret_exact);
        int (*facet)(struct store *s, enum store_facet which, store_facet_fn fn, void *userdata);

        int (*user_set)(struct store *s, const struct store_user *u); /* adds or replaces */
        int (*user_get)(struct store *s, const char *name, struct store_user *ret); /* -ENOENT */
        int (*session_add)(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], const char *user,
                           uint64_t expires_ms);
        int (*session_get)(struct store *s, const uint8_t hash[static STORE_HASH_SIZE], uint64_t now_ms,
                           struct store_session *ret); /* -ENOENT */
        int (*session_delete)(struct store *s, const uint8_t hash[static STORE_HASH_SIZE]);
        /* Who did what: append only. */
        int (*audit_add)(struct store *s, const struct store_audit *a);
        /* Housekeeping, now and then: expired sessions and tokens. */
        int (*tidy)(struct store *s, uint64_t now_ms);
};

/* Opens or creates the file. s->free() it. -EPROTONOSUPPORT made by a newer version. */
int store_sqlite_open(const char *path, struct store **ret, struct diag *reterr);
