/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* This collector's Merkle log: one entry for each sealed batch and each line of the audit table, taken up once
 * their commit is through (whatever has no entry yet, so a crash leaves nothing out), tiles and signed checkpoints
 * in the database beside them. The signing key is a file of the collector's folder.
 *
 * Several collectors over one database have a log each; a batch is in the log of whichever takes it up first. */
#include "collector/store/store.h"
#include "evidence/bundle.h"

#define TLOG_TICK_MS       1000
#define TLOG_CHECKPOINT_MS 10000
#define TLOG_TAKE_MAX      2000 /* entries a tick: a backlog does not hold up the loop */

struct tlog;

/* The key file is made when it is not there: `origin` is the log's name from then on. -EEXIST: the database knows a
 * log of this name with another key; -EUCLEAN: what it has of this log does not fit together. */
int tlog_open(struct store *s, const char *key_path, const char *origin, struct tlog **ret, struct diag *reterr);
struct tlog *tlog_free(struct tlog *l);
DEFINE_CLEANUP(struct tlog, tlog_free)

/* Takes up what is new, and signs a checkpoint when the last one is older than TLOG_CHECKPOINT_MS or `now` is asked
 * for. In a transaction of its own: the caller has committed before. After a failure it goes on from what was
 * committed. */
int tlog_tick(struct tlog *l, uint64_t now_ms, bool now);

const struct note_key *tlog_key(const struct tlog *l);
const uint8_t *tlog_secret(const struct tlog *l); /* NOTE_SECRET_SIZE */
/* The checkpoint as it is published, with cosignatures of the same size; free(). */
int tlog_checkpoint(struct tlog *l, char **ret, size_t *ret_size);
uint64_t tlog_size(const struct tlog *l); /* of the last checkpoint */

/* ---- any log of the database, on either connection ---- */
struct tlog_head {
        int64_t number;
        struct note_key key;
        struct checkpoint checkpoint;
        uint64_t time_ms; /* of the checkpoint */
        char *note; /* owned */
};
void tlog_head_done(struct tlog_head *h);
/* -ENOENT. By origin, or by number with origin NULL. */
int tlog_head_get(struct db *db, const char *origin, int64_t number, struct tlog_head *ret);
/* Entries of all logs that are above the checkpoint of theirs. */
int tlog_unsigned(struct db *db, uint64_t *ret);
/* A tile, or an entry bundle, of a published size; appended. -ENOENT. */
int tlog_tile(struct db *db, const struct tlog_head *h, const struct merkle_tile *t, struct buf *out);
/* For proofs: reads through db. */
struct tlog_reader {
        struct db *db;
        int64_t number;
        struct merkle_tree tree;
};
void tlog_reader_init(struct tlog_reader *r, struct db *db, const struct tlog_head *h);
/* Is this state in the log's history? 0, -EILSEQ it is not: a fork; -ERANGE larger than the log. */
int tlog_contains(struct db *db, const struct tlog_head *h, const struct merkle_head *state);

/* ---- witnesses, witness.c ---- */
/* Adds or removes one that may cosign. -EINVAL no key of a witness, -ENOENT. */
int tlog_witness_add(struct store *s, const char *vkey, uint64_t now_ms);
int tlog_witness_remove(struct store *s, const char *name);
/* A checkpoint of `h` with a witness's cosignature: kept. -ENOKEY of no witness that is known, -EKEYREJECTED wrong,
 * -EBADMSG not a checkpoint of this log. */
int tlog_cosigned(struct store *s, const struct tlog_head *h, const char *note, size_t size);
struct tlog_witness {
        const char *name, *vkey, *note; /* note NULL: has not cosigned yet */
        uint64_t size, time_ms; /* of what it cosigned last */
};
typedef int (*tlog_witness_fn)(const struct tlog_witness *w, void *userdata);
int tlog_witnesses(struct db *db, int64_t log, tlog_witness_fn fn, void *userdata);
