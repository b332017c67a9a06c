/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Signatures in minisign's format (https://jedisct1.github.io/minisign/): Ed25519 over
 * BLAKE2b-512 of the file ("ED", prehashed), interchangeable with the minisign program.
 * The legacy unhashed form ("Ed") is refused. No I/O but random bytes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "base/diag.h"

#define TRUST_KEY_MAX_BYTES       1024
#define TRUST_SIGNATURE_MAX_BYTES 2048
#define TRUST_COMMENT_MAX         512
#define TRUST_KEY_ID_TEXT         17 /* 16 upper-case hex digits as minisign prints them, NUL */
#define TRUST_KEY_BASE64_SIZE     56 /* characters of the second line of a .pub file */
#define TRUST_SIGNATURES_MAX      4 /* in one .minisig */

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
/* The same from its second line alone, as a policy names a key. -EBADMSG. */
int trust_key_from_base64(const char *text, struct trust_key *ret);
int trust_key_id_parse(const char *text, uint8_t ret[static 8]); /* -EINVAL */
/* Parse the text of a secret key file. `password` may be NULL for an unencrypted key.
 * -EBADMSG malformed, -EKEYREJECTED password needed or wrong. */
int trust_secret_parse(const char *text, size_t size, const char *file, const char *password,
                       struct trust_secret *ret, struct diag *reterr);
enum trust_cost { /* of each try of a password */
                  TRUST_COST_OFFLINE, /* minisign's own: 1 GiB, seconds */
                  TRUST_COST_SERVER, /* 128 MiB, less than a second: where the key is used beside other work */
                  _TRUST_COST_MAX,
};
/* Texts of a new key pair, both free(); with a password the secret is encrypted (scrypt). */
int trust_key_new(const char *password, enum trust_cost cost, char **ret_secret_text, char **ret_public_text);
void trust_key_id_format(const uint8_t id[static 8], char ret[static TRUST_KEY_ID_TEXT]);
void trust_secret_done(struct trust_secret *s); /* wipes */

/* A file and the text of its .minisig: one signature, or several one after the other, each of four lines. minisign
 * itself verifies the first. */
struct trust_file {
        const char *name; /* for diagnostics */
        const void *data;
        size_t size;
        const char *minisig;
        size_t minisig_size;
};

/* Verify every signature by one of the keys, the global signature over the trusted comment included, and pass over
 * those by others; *ret_n of them held. *ret_stranger is the id of one that was passed over, when *ret_n is 0.
 * -EBADMSG malformed, -EKEYREJECTED one of them is wrong. */
int trust_verify(const struct trust_key *keys, size_t n_keys, const struct trust_file *f,
                 struct trust_signature ret[static TRUST_SIGNATURES_MAX], size_t *ret_n,
                 uint8_t ret_stranger[static 8], struct diag *reterr);
/* Text of a .minisig, free(). The comment must be one printable line. */
int trust_sign(const struct trust_secret *secret, const void *data, size_t size, const char *trusted_comment,
               char **ret_signature_text);
/* The trusted comment `what` with " signed=TIME" behind it; free(), NULL when memory is short. */
char *trust_comment_new(const char *what, time_t signed_at);
/* Cuts " signed=TIME" off; returns the time, 0 when there is none. */
time_t trust_comment_cut(char *comment);
