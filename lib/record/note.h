/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* C2SP signed-note with Ed25519, tlog-checkpoint, and tlog-cosignature's cosignature/v1. Pure. */
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "record/merkle.h"

#define NOTE_NAME_MAX       128 /* with the NUL */
#define NOTE_VKEY_MAX       (NOTE_NAME_MAX + 56)
#define NOTE_MAX_BYTES      (16u << 10)
#define NOTE_KEY_SIZE       32
#define NOTE_SECRET_SIZE    64
#define NOTE_SIGNATURES_MAX 16 /* signed-note, "Format": at least that many must be accepted */

enum note_kind { /* signed-note, "Signature types" */
                 NOTE_ED25519 = 1,
                 NOTE_COSIGNATURE = 4,
};
struct note_key {
        char name[NOTE_NAME_MAX];
        enum note_kind kind;
        uint8_t id[4];
        uint8_t public_key[NOTE_KEY_SIZE];
};

/* -EINVAL: the name is empty, too long or holds spaces, '+' or control characters. */
int note_key_init(struct note_key *k, const char *name, enum note_kind kind,
                  const uint8_t public_key[static NOTE_KEY_SIZE]);
/* "NAME+ID+KEY", signed-note's verifier key. -EINVAL, also when the id is not the key's. */
int note_key_parse(const char *vkey, struct note_key *ret);
void note_key_format(const struct note_key *k, char ret[static NOTE_VKEY_MAX]);

/* A secret key's file: "NAME SEED\n", the seed of an Ed25519 key in hex. Wipe the text after use. */
#define NOTE_SECRET_TEXT_MAX (NOTE_NAME_MAX + 67)
void note_secret_new(const char *name, char ret[static NOTE_SECRET_TEXT_MAX]);
/* -EINVAL. */
int note_secret_parse(const char *text, enum note_kind kind, struct note_key *ret,
                      uint8_t ret_secret[static NOTE_SECRET_SIZE]);

/* Appends a signature line over `text` (which ends in a newline). time_s: of a cosignature only. The blank line
 * between text and signatures is the caller's. */
void note_sign(struct buf *out, const char *text, size_t size, const struct note_key *k,
               const uint8_t secret[static NOTE_SECRET_SIZE], uint64_t time_s);
/* Bytes of the text in front of the blank line; -EBADMSG: not a note. */
int note_text(const char *note, size_t size, size_t *ret_size);
/* 0 this key's signature is right; -ENOKEY it has not signed; -EKEYREJECTED it is wrong; -EBADMSG not a note.
 * *ret_time_s (may be NULL) is when it was cosigned. */
int note_verify(const char *note, size_t size, const struct note_key *k, uint64_t *ret_time_s);

/* Appends the first signature line of this name: -ENOKEY there is none, -EBADMSG. With an empty `out` the text and the
 * blank line come before it. */
int note_keep(const char *note, size_t size, const char *name, struct buf *out);

struct checkpoint {
        char origin[NOTE_NAME_MAX];
        struct merkle_head head;
};
void checkpoint_format(const struct checkpoint *c, struct buf *out);
/* Of a note's text, which may have more lines. -EBADMSG. */
int checkpoint_parse(const char *text, size_t size, struct checkpoint *ret);
/* note_verify(), then checkpoint_parse(); the origin must be the key's name. */
int checkpoint_open(const char *note, size_t size, const struct note_key *k, struct checkpoint *ret);
