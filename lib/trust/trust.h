/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Signatures in minisign's format (https://jedisct1.github.io/minisign/): Ed25519 over
 * BLAKE2b-512 of the file ("ED", prehashed), interchangeable with the minisign program.
 * The legacy unhashed form ("Ed") is refused. No I/O but random bytes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/diag.h"

#define TRUST_KEY_MAX_BYTES       1024
#define TRUST_SIGNATURE_MAX_BYTES 2048
#define TRUST_COMMENT_MAX         512
#define TRUST_KEY_ID_TEXT         17 /* 16 upper-case hex digits as minisign prints them, NUL */

struct trust_key {
        uint8_t id[8];
        uint8_t public_key[32];
};

struct trust_secret {
        uint8_t id[8];
        uint8_t secret_key[64];
};

/* What a verified signature says. */
struct trust_signature {
        uint8_t key_id[8];
        char comment[TRUST_COMMENT_MAX]; /* the trusted comment, verified */
};

/* Parse the text of a .pub file. -EBADMSG. */
int trust_key_parse(const char *text, size_t size, const char *file, struct trust_key *ret, struct diag *reterr);
/* Parse the text of a secret key file. `password` may be NULL for an unencrypted key.
 * -EBADMSG malformed, -EKEYREJECTED password needed or wrong. */
int trust_secret_parse(const char *text, size_t size, const char *file, const char *password,
                       struct trust_secret *ret, struct diag *reterr);
/* Texts of a new key pair, both free(); with a password the secret is encrypted (scrypt). */
int trust_key_new(const char *password, char **ret_secret_text, char **ret_public_text);
void trust_key_id_format(const uint8_t id[static 8], char ret[static TRUST_KEY_ID_TEXT]);
void trust_secret_done(struct trust_secret *s); /* wipes */

/* Verify the text of a .minisig over `data` with whichever of the keys has its id, the
 * global signature over the trusted comment included.
 * -EBADMSG malformed, -ENOKEY signed by another key, -EKEYREJECTED signature wrong. */
int trust_verify(const struct trust_key *keys, size_t n_keys, const void *data, size_t size,
                 const char *signature_text, size_t signature_size, const char *file, struct trust_signature *ret,
                 struct diag *reterr);
/* Text of a .minisig, free(). The comment must be one printable line. */
int trust_sign(const struct trust_secret *secret, const void *data, size_t size, const char *trusted_comment,
               char **ret_signature_text);
