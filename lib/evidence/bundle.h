/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* An evidence bundle, onchannel-evidence(5): lines of JSON, and between them records byte for byte. Here are the
 * things that its lines say, and the entries of the collector's log that they are proved by. Pure. */
#include <jansson.h>
#include <sodium.h>
#include <stdbool.h>
#include "base/buf.h"
#include "record/chain.h"
#include "record/note.h"

#define BUNDLE_FORMAT    "evidence/v1"
#define BUNDLE_LINE_MAX  (256u << 10) /* bytes: a batch of BATCH_RECORDS_MAX with its proof fits */
#define BUNDLE_SUM_HEX   16
#define BUNDLE_AUDIT_MAX 4096 /* bytes of an audit line */
#define BUNDLE_NAME_MAX  256

enum bundle_state {
        BUNDLE_PRESENT, /* its bytes follow */
        BUNDLE_WITHHELD, /* not what was asked for */
        BUNDLE_ERASED,
        _BUNDLE_STATE_MAX,
};

struct bundle_record {
        enum bundle_state state;
        uint8_t commitment[CHAIN_HASH_SIZE];
        uint8_t salt[CHAIN_SALT_SIZE]; /* BUNDLE_PRESENT */
        const char *text; /* BUNDLE_PRESENT, when it is written */
        size_t size;
};

struct bundle_leaf {
        char log[NOTE_NAME_MAX]; /* origin; empty: not in a log yet */
        uint64_t index;
        struct merkle_proof proof; /* to the log's checkpoint in the bundle */
};

struct bundle_batch {
        char device[DEVICE_ID_MAX];
        char boot[37];
        struct chain_seal seal;
        uint64_t received_ms;
        struct bundle_leaf leaf;
        struct bundle_record *records; /* seal.n of them; NULL: all are withheld */
        uint64_t n_gone; /* that the collector does not have any more; then records is NULL */
};

struct bundle_head {
        const char *origin; /* of the log of the collector that made it; it signs the end */
        const char *version;
        uint64_t created_ms, from_ms, to_ms; /* 0: no bound */
        json_t *filter; /* strings; borrowed, may be NULL */
};

struct bundle_device {
        char id[DEVICE_ID_MAX];
        char name[BUNDLE_NAME_MAX];
        uint8_t public_key[DEVICE_KEY_SIZE];
        uint64_t enrolled_ms;
};

struct bundle_audit {
        uint64_t number;
        uint8_t salt[CHAIN_SALT_SIZE];
        struct bundle_leaf leaf;
        const char *text; /* when it is written */
        size_t size;
};

/* A checkpoint that a device saw or a witness cosigned, and how the log grew from it. */
struct bundle_seen {
        char log[NOTE_NAME_MAX];
        struct merkle_head head;
        struct merkle_proof proof;
};

/* ---- entries of the log, leaf.c ---- */
/* "onchannel-leaf/v1 batch DEVICE BOOT FIRST N PREV HEAD SIG RECEIVED", without a newline. */
void leaf_batch_format(struct buf *out, const struct bundle_batch *b);
/* "onchannel-leaf/v1 audit NUMBER COMMITMENT"; the commitment is that of a record: salt and line. */
void leaf_audit_format(struct buf *out, uint64_t number, const uint8_t commitment[static CHAIN_HASH_SIZE]);
/* An audit line, the bytes that the commitment is over. */
void audit_line_format(struct buf *out, uint64_t number, uint64_t time_ms, const char *who, const char *action,
                       const char *detail);

/* ---- writing: lines are appended to `out`, which may be emptied in between ---- */
struct bundle_writer {
        crypto_hash_sha256_state hash;
        uint64_t lines;
};
void bundle_write_head(struct bundle_writer *w, struct buf *out, const struct bundle_head *h);
void bundle_write_checkpoint(struct bundle_writer *w, struct buf *out, const char *vkey, const char *note);
void bundle_write_device(struct bundle_writer *w, struct buf *out, const struct bundle_device *d);
void bundle_write_batch(struct bundle_writer *w, struct buf *out, const struct bundle_batch *b);
void bundle_write_audit(struct bundle_writer *w, struct buf *out, const struct bundle_audit *a);
/* `note`: the log's checkpoint with the witness's line beside the text. */
void bundle_write_cosigned(struct bundle_writer *w, struct buf *out, const char *note, const char *log,
                           const struct merkle_proof *p);
void bundle_write_seen(struct bundle_writer *w, struct buf *out, const struct bundle_seen *s);
void bundle_write_end(struct bundle_writer *w, struct buf *out, const struct note_key *k,
                      const uint8_t secret[static NOTE_SECRET_SIZE]);
/* The text that the end's note signs. */
void bundle_end_text(struct buf *out, const char *origin, uint64_t lines, crypto_hash_sha256_state hash);

/* ---- reading, parse.c ---- */
enum bundle_kind {
        BUNDLE_HEAD,
        BUNDLE_CHECKPOINT,
        BUNDLE_COSIGNED,
        BUNDLE_DEVICE,
        BUNDLE_BATCH,
        BUNDLE_AUDIT,
        BUNDLE_SEEN,
        BUNDLE_END,
        _BUNDLE_KIND_MAX,
};
/* How a line of that kind begins; records do not begin so. */
extern const char *const bundle_begins[_BUNDLE_KIND_MAX];
struct bundle_line {
        enum bundle_kind kind;
        json_t *json; /* owned */
};
void bundle_line_done(struct bundle_line *l);
/* -ENOMSG no line of a bundle, -EBADMSG one that was changed: its sum is wrong. */
int bundle_line_parse(const char *line, size_t size, struct bundle_line *ret);
/* -EBADMSG: *ret_what names the member that is missing or wrong. */
int bundle_device_parse(json_t *o, struct bundle_device *ret, const char **ret_what);
/* free() ret->records. */
int bundle_batch_parse(json_t *o, struct bundle_batch *ret, const char **ret_what);
int bundle_audit_parse(json_t *o, struct bundle_audit *ret, const char **ret_what);
int bundle_seen_parse(json_t *o, struct bundle_seen *ret, const char **ret_what);
int bundle_cosigned_parse(json_t *o, struct merkle_proof *ret, const char **ret_note, const char **ret_what);
