/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "record/chain.h"
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "base/text.h"

_Static_assert(CHAIN_HASH_SIZE == crypto_hash_sha256_BYTES, "SHA-256");
_Static_assert(CHAIN_SIGNATURE_SIZE == crypto_sign_BYTES, "Ed25519");
_Static_assert(DEVICE_KEY_SIZE == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(DEVICE_SECRET_SIZE == crypto_sign_SECRETKEYBYTES, "Ed25519");

#define DEVICE_ID_BYTES 15 /* 24 base32 letters without padding */

static void be64_encode(uint64_t v, uint8_t ret[static 8])
{
        for (int i = 0; i < 8; i++)
                ret[i] = (uint8_t)(v >> (56 - 8 * i));
}

void device_id_format(const uint8_t public_key[static DEVICE_KEY_SIZE], char ret[static DEVICE_ID_MAX])
{
        static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648 6 */
        uint8_t hash[CHAIN_HASH_SIZE];
        char *p = ret;

        crypto_hash_sha256(hash, public_key, DEVICE_KEY_SIZE);
        *p++ = 'd';
        *p++ = '-';
        for (size_t i = 0; i < DEVICE_ID_BYTES; i += 5) {
                uint64_t group = 0;

                for (size_t j = 0; j < 5; j++)
                        group = group << 8 | hash[i + j];
                for (int shift = 35; shift >= 0; shift -= 5)
                        *p++ = alphabet[group >> shift & 31];
        }
        *p = '\0';
}

size_t device_id_size(const char *id)
{
        return strcspn(id, "~");
}

bool device_id_is_of(const char *id, const uint8_t public_key[static DEVICE_KEY_SIZE])
{
        char expected[DEVICE_ID_MAX];
        const char *branch = id + device_id_size(id);
        uint64_t n;

        device_id_format(public_key, expected);
        if (device_id_size(id) != DEVICE_ID_SIZE || memcmp(id, expected, DEVICE_ID_SIZE) != 0)
                return false;
        return !*branch || (branch[1] != '0' && parse_u64(branch + 1, BRANCHES_MAX, &n) == 0 && n > 1);
}

void device_key_new(uint8_t ret_public[static DEVICE_KEY_SIZE], uint8_t ret_secret[static DEVICE_SECRET_SIZE])
{
        crypto_sign_keypair(ret_public, ret_secret);
}

void chain_start(const uint8_t public_key[static DEVICE_KEY_SIZE], uint8_t ret[static CHAIN_HASH_SIZE])
{
        static const char domain[] = "onchannel-chain/v1";
        crypto_hash_sha256_state state;

        crypto_hash_sha256_init(&state);
        crypto_hash_sha256_update(&state, (const uint8_t *)domain, strlen(domain));
        crypto_hash_sha256_update(&state, public_key, DEVICE_KEY_SIZE);
        crypto_hash_sha256_final(&state, ret);
}

void chain_commit(const uint8_t salt[static CHAIN_SALT_SIZE], const void *record, size_t size,
                  uint8_t ret[static CHAIN_HASH_SIZE])
{
        static const uint8_t domain = 0x03;
        crypto_hash_sha256_state state;

        crypto_hash_sha256_init(&state);
        crypto_hash_sha256_update(&state, &domain, sizeof(domain));
        crypto_hash_sha256_update(&state, salt, CHAIN_SALT_SIZE);
        crypto_hash_sha256_update(&state, record, size);
        crypto_hash_sha256_final(&state, ret);
}

void chain_link(const char *device_id, uint64_t seq, const uint8_t prev[static CHAIN_HASH_SIZE],
                const uint8_t commitment[static CHAIN_HASH_SIZE], uint8_t ret[static CHAIN_HASH_SIZE])
{
        static const uint8_t domain = 0x02;
        uint8_t number[8];
        crypto_hash_sha256_state state;

        be64_encode(seq, number);
        crypto_hash_sha256_init(&state);
        crypto_hash_sha256_update(&state, &domain, sizeof(domain));
        crypto_hash_sha256_update(&state, (const uint8_t *)device_id, device_id_size(device_id));
        crypto_hash_sha256_update(&state, number, sizeof(number));
        crypto_hash_sha256_update(&state, prev, CHAIN_HASH_SIZE);
        crypto_hash_sha256_update(&state, commitment, CHAIN_HASH_SIZE);
        crypto_hash_sha256_final(&state, ret);
}

void chain_next(const char *device_id, uint64_t seq, const uint8_t prev[static CHAIN_HASH_SIZE],
                const uint8_t salt[static CHAIN_SALT_SIZE], const void *record, size_t size,
                uint8_t ret[static CHAIN_HASH_SIZE])
{
        uint8_t commitment[CHAIN_HASH_SIZE];

        chain_commit(salt, record, size, commitment);
        chain_link(device_id, seq, prev, commitment, ret);
}

#define SEAL_DOMAIN   "onchannel-batch/v1\n"
#define SEAL_TEXT_MAX (sizeof(SEAL_DOMAIN) + DEVICE_ID_MAX + 2 * 8 + 2 * CHAIN_HASH_SIZE)

static size_t seal_text(const struct chain_seal *seal, const char *device_id, uint8_t ret[static SEAL_TEXT_MAX])
{
        size_t id_size = strnlen(device_id, DEVICE_ID_MAX) < DEVICE_ID_MAX ? device_id_size(device_id) : 0;
        uint8_t *p = ret;

        p = (uint8_t *)mempcpy(p, SEAL_DOMAIN, strlen(SEAL_DOMAIN));
        p = (uint8_t *)mempcpy(p, device_id, id_size);
        be64_encode(seal->first, p);
        be64_encode(seal->n, p + 8);
        p = (uint8_t *)mempcpy(p + 16, seal->prev, CHAIN_HASH_SIZE);
        p = (uint8_t *)mempcpy(p, seal->head, CHAIN_HASH_SIZE);
        return (size_t)(p - ret);
}

void chain_seal_sign(struct chain_seal *seal, const char *device_id, const uint8_t secret[static DEVICE_SECRET_SIZE])
{
        uint8_t text[SEAL_TEXT_MAX];

        crypto_sign_detached(seal->signature, NULL, text, seal_text(seal, device_id, text), secret);
}

int chain_seal_verify(const struct chain_seal *seal, const char *device_id,
                      const uint8_t public_key[static DEVICE_KEY_SIZE])
{
        uint8_t text[SEAL_TEXT_MAX];

        if (crypto_sign_verify_detached(seal->signature, text, seal_text(seal, device_id, text), public_key) != 0)
                return -EKEYREJECTED;
        return 0;
}
