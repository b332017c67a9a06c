/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The text and byte layouts of minisign's files, inside trust/ only
 * (https://jedisct1.github.io/minisign/#signature-format and #secret-key-format). */
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/diag.h"

#define MINISIGN_ALG_KEY       "Ed" /* also the legacy signature, over the file itself */
#define MINISIGN_ALG_PREHASHED "ED"
#define MINISIGN_KDF_SCRYPT    "Sc"
#define MINISIGN_KDF_NONE      "\0"
#define MINISIGN_CHECKSUM_ALG  "B2"
#define MINISIGN_UNTRUSTED     "untrusted comment: "
#define MINISIGN_TRUSTED       "trusted comment: "

struct minisign_public {
        uint8_t alg[2];
        uint8_t id[8];
        uint8_t key[32];
};
_Static_assert(sizeof(struct minisign_public) == 42, "layout");

struct minisign_signature {
        uint8_t alg[2];
        uint8_t id[8];
        uint8_t signature[64];
};
_Static_assert(sizeof(struct minisign_signature) == 74, "layout");

/* What a password encrypts. */
struct minisign_sealed {
        uint8_t id[8];
        uint8_t key[64];
        uint8_t checksum[32]; /* BLAKE2b-256 of alg, id, key; zero when not encrypted */
};

struct minisign_secret {
        uint8_t alg[2];
        uint8_t kdf_alg[2];
        uint8_t checksum_alg[2];
        uint8_t salt[32];
        uint8_t ops_le[8];
        uint8_t memory_le[8];
        struct minisign_sealed sealed;
};
_Static_assert(sizeof(struct minisign_secret) == 158, "layout");

/* A cursor over the lines of one file. */
struct minisign_text {
        const char *next;
        const char *end;
        const char *file;
        unsigned line;
        struct diag *reterr;
};

/* The rest of the next line behind `prefix`; points into the text, not NUL-terminated. -EBADMSG. */
int minisign_read_comment(struct minisign_text *t, const char *prefix, const char **ret, size_t *ret_size);
/* The next line is base64 of exactly `size` bytes. -EBADMSG. */
int minisign_read_base64(struct minisign_text *t, void *ret, size_t size);
int minisign_read_end(struct minisign_text *t);
void minisign_add_base64(struct buf *b, const void *data, size_t size);
