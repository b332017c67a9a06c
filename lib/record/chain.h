/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The device's hash chain and batch signatures (libsodium). Pure but for random bytes.
 *   H(0) = SHA-256("onchannel-chain/v1" | device public key)
 *   C(i) = SHA-256(0x03 | salt | record bytes)
 *   H(i) = SHA-256(0x02 | device id text | be64(seq) | H(i-1) | C(i))
 * C(i) is all that remains of a record that was erased or is withheld: it tells nothing without the salt,
 * yet the chain is checked through it.
 *   seal = Ed25519("onchannel-batch/v1\n" | device id text | be64(first) | be64(n) | H(first-1) | H(last)) */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAIN_HASH_SIZE      32
#define CHAIN_SALT_SIZE      16
#define CHAIN_SIGNATURE_SIZE 64
#define DEVICE_KEY_SIZE      32
#define DEVICE_SECRET_SIZE   64
#define DEVICE_ID_SIZE       26 /* "d-", 24 base32 letters */
#define DEVICE_ID_MAX        30 /* the same, perhaps that of a branch, NUL */
#define BRANCHES_MAX         99

/* "d-" + lower-case base32 (RFC 4648 6) of the first 15 bytes of SHA-256(public key). */
void device_id_format(const uint8_t public_key[static DEVICE_KEY_SIZE], char ret[static DEVICE_ID_MAX]);
/* Is it that of this key, or of a branch: "~2" to "~99" behind it? A branch is another history that was written with the
 * key, as a copied disk has it; what its hashes and signatures are over has the device's id alone. */
bool device_id_is_of(const char *id, const uint8_t public_key[static DEVICE_KEY_SIZE]);
/* strlen() without what makes it a branch's. */
size_t device_id_size(const char *id);
void device_key_new(uint8_t ret_public[static DEVICE_KEY_SIZE], uint8_t ret_secret[static DEVICE_SECRET_SIZE]);

/* C(i). */
void chain_commit(const uint8_t salt[static CHAIN_SALT_SIZE], const void *record, size_t size,
                  uint8_t ret[static CHAIN_HASH_SIZE]);
void chain_start(const uint8_t public_key[static DEVICE_KEY_SIZE], uint8_t ret[static CHAIN_HASH_SIZE]);
/* H(i) from C(i); prev, commitment and ret may be the same. */
void chain_link(const char *device_id, uint64_t seq, const uint8_t prev[static CHAIN_HASH_SIZE],
                const uint8_t commitment[static CHAIN_HASH_SIZE], uint8_t ret[static CHAIN_HASH_SIZE]);
/* Both; prev and ret may be the same. */
void chain_next(const char *device_id, uint64_t seq, const uint8_t prev[static CHAIN_HASH_SIZE],
                const uint8_t salt[static CHAIN_SALT_SIZE], const void *record, size_t size,
                uint8_t ret[static CHAIN_HASH_SIZE]);

struct chain_seal {
        uint64_t first;
        uint64_t n;
        uint8_t prev[CHAIN_HASH_SIZE]; /* H(first - 1) */
        uint8_t head[CHAIN_HASH_SIZE]; /* H(first + n - 1) */
        uint8_t signature[CHAIN_SIGNATURE_SIZE];
};
void chain_seal_sign(struct chain_seal *seal, const char *device_id, const uint8_t secret[static DEVICE_SECRET_SIZE]);
/* 0 or -EKEYREJECTED. */
int chain_seal_verify(const struct chain_seal *seal, const char *device_id,
                      const uint8_t public_key[static DEVICE_KEY_SIZE]);

/* ---- a batch as it travels, ARCHITECTURE.md "Agent and collector" ----
 * Line 1: {"v":1,"device":"d-…","boot":"…","first":N,"n":N,"prev":"hex","head":"hex","sig":"hex",
 *          "salts":"hex of n*16 bytes"}; lines 2..n+1: the record bytes, each ended by '\n'. */
#define BATCH_RECORDS_MAX 1000
#define BATCH_MAX_BYTES   (8u << 20) /* uncompressed */

struct batch {
        char device[DEVICE_ID_MAX];
        char boot[37];
        struct chain_seal seal;
        uint8_t *salts; /* seal.n * CHAIN_SALT_SIZE; owned */
        const char **records; /* pointers into the text; owned array */
        size_t *sizes; /* owned array */
        uint8_t *hashes; /* H of each record, by batch_parse() alone; seal.n * CHAIN_HASH_SIZE; owned */
};
void batch_done(struct batch *b);

struct diag;
/* Header line, free(), including the newline. */
int batch_header_encode(const struct batch *b, char **ret, size_t *ret_size);
/* Parse and check shape and bounds, then recompute the chain from seal.prev and require
 * seal.head; with public_key != NULL the signature too. `text` must outlive *ret.
 * -EBADMSG malformed, -E2BIG too large, -EILSEQ chain does not reach head,
 * -EKEYREJECTED signature wrong. *reterr.line is the NDJSON line. */
int batch_parse(const char *text, size_t size, const uint8_t *public_key, struct batch *ret, struct diag *reterr);
