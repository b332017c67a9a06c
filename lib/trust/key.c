/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "trust/minisign.h"
#include "trust/trust.h"

static const struct {
        uint64_t ops;
        size_t memory;
} scrypt_costs[] = {
        /* what minisign uses; a key that asks for more is refused */
        [TRUST_COST_OFFLINE] = {crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE,
                                crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE},
        /* N = 2^17, r = 8, p = 1: what OWASP's Password Storage Cheat Sheet asks of scrypt at least */
        [TRUST_COST_SERVER] = {4194304, (size_t)128 << 20},
};
_Static_assert(ELEMENTSOF(scrypt_costs) == _TRUST_COST_MAX, "enum trust_cost");

_Static_assert(sizeof(((struct minisign_secret *)0)->salt) == crypto_pwhash_scryptsalsa208sha256_SALTBYTES, "salt");

static void secret_wipe(struct minisign_secret *s)
{
        sodium_memzero(s, sizeof(*s));
}
#define _cleanup_secret_ _cleanup_(secret_wipe)

void trust_secret_done(struct trust_secret *s)
{
        sodium_memzero(s, sizeof(*s));
}

void trust_key_id_format(const uint8_t id[static 8], char ret[static TRUST_KEY_ID_TEXT])
{
        for (size_t i = 0; i < 8; i++) /* minisign prints the little-endian number */
                snprintf(ret + 2 * i, 3, "%02X", id[7 - i]);
}

static int size_check(size_t size, const char *file, struct diag *reterr)
{
        if (size > TRUST_KEY_MAX_BYTES)
                return diag_set(reterr, -EBADMSG, file, 0, "key file larger than %d bytes", TRUST_KEY_MAX_BYTES);
        return 0;
}

/* A key file is one comment and one line of base64. */
static int key_file_read(struct minisign_text *t, void *ret, size_t size)
{
        const char *comment;
        size_t comment_size;
        int r;

        r = size_check((size_t)(t->end - t->next), t->file, t->reterr);
        if (r < 0)
                return r;
        r = minisign_read_comment(t, MINISIGN_UNTRUSTED, &comment, &comment_size);
        if (r < 0)
                return r;
        r = minisign_read_base64(t, ret, size);
        return r < 0 ? r : minisign_read_end(t);
}

static int public_take(const struct minisign_public *public, struct trust_key *ret)
{
        if (memcmp(public->alg, MINISIGN_ALG_KEY, sizeof(public->alg)) != 0)
                return -EBADMSG;
        memcpy(ret->id, public->id, sizeof(ret->id));
        memcpy(ret->public_key, public->key, sizeof(ret->public_key));
        return 0;
}

int trust_key_parse(const char *text, size_t size, const char *file, struct trust_key *ret, struct diag *reterr)
{
        struct minisign_text t = {.next = text, .end = text + size, .file = file, .reterr = reterr};
        struct minisign_public public;
        int r;

        r = key_file_read(&t, &public, sizeof(public));
        if (r < 0)
                return r;
        r = public_take(&public, ret);
        return r < 0 ? diag_set(reterr, r, file, 2, "not an Ed25519 public key of minisign") : 0;
}

int trust_key_from_base64(const char *text, struct trust_key *ret)
{
        struct minisign_text t = {.next = text, .end = text + strlen(text)};
        struct minisign_public public;
        int r;

        r = minisign_read_base64(&t, &public, sizeof(public));
        return r < 0 ? r : public_take(&public, ret);
}

int trust_key_id_parse(const char *text, uint8_t ret[static 8])
{
        uint8_t big_endian[8];

        if (hex_decode(text, big_endian, sizeof(big_endian)) < 0)
                return -EINVAL;
        for (size_t i = 0; i < sizeof(big_endian); i++)
                ret[i] = big_endian[sizeof(big_endian) - 1 - i];
        return 0;
}

static void secret_checksum(const struct minisign_secret *s, uint8_t ret[static 32])
{
        crypto_generichash_state state;

        crypto_generichash_init(&state, NULL, 0, sizeof(s->sealed.checksum));
        crypto_generichash_update(&state, s->alg, sizeof(s->alg));
        crypto_generichash_update(&state, s->sealed.id, sizeof(s->sealed.id));
        crypto_generichash_update(&state, s->sealed.key, sizeof(s->sealed.key));
        crypto_generichash_final(&state, ret, sizeof(s->sealed.checksum));
        sodium_memzero(&state, sizeof(state));
}

static uint64_t le64(const uint8_t bytes[static 8])
{
        uint64_t v = 0;

        for (size_t i = 8; i-- > 0;)
                v = v << 8 | bytes[i];
        return v;
}

static void le64_set(uint8_t bytes[static 8], uint64_t v)
{
        for (size_t i = 0; i < 8; i++)
                bytes[i] = (uint8_t)(v >> (8 * i));
}

/* Encrypts and decrypts: a XOR with scrypt's stream. -EBADMSG too costly, -ENOMEM. */
static int secret_crypt(struct minisign_secret *s, const char *password)
{
        uint64_t ops = le64(s->ops_le), memory = le64(s->memory_le);
        uint8_t stream[sizeof(s->sealed)], *sealed = (uint8_t *)&s->sealed;

        if (ops > scrypt_costs[TRUST_COST_OFFLINE].ops || memory > scrypt_costs[TRUST_COST_OFFLINE].memory)
                return -EBADMSG;
        if (crypto_pwhash_scryptsalsa208sha256(stream, sizeof(stream), password, strlen(password), s->salt, ops,
                                               (size_t)memory) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < sizeof(stream); i++)
                sealed[i] ^= stream[i];
        sodium_memzero(stream, sizeof(stream));
        return 0;
}

/* A key pair is a seed and the public key that follows from it. */
static bool is_key_pair(const uint8_t secret_key[static 64])
{
        uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
        bool ok;

        crypto_sign_seed_keypair(public_key, secret, secret_key);
        ok = sodium_memcmp(secret, secret_key, sizeof(secret)) == 0;
        sodium_memzero(secret, sizeof(secret));
        return ok;
}

static int secret_open(struct minisign_secret *s, const char *password, const char *file, struct diag *reterr)
{
        uint8_t checksum[sizeof(s->sealed.checksum)];
        int r;

        if (!password)
                return diag_set(reterr, -EKEYREJECTED, file, 0, "the secret key needs its password");
        r = secret_crypt(s, password);
        if (r == -EBADMSG)
                return diag_set(reterr, r, file, 2,
                                "the secret key asks for more memory or time than minisign's own");
        if (r < 0)
                return diag_set(reterr, r, file, 0, "not enough memory to derive the key from the password");
        secret_checksum(s, checksum);
        if (sodium_memcmp(checksum, s->sealed.checksum, sizeof(checksum)) != 0)
                return diag_set(reterr, -EKEYREJECTED, file, 0, "wrong password");
        return 0;
}

int trust_secret_parse(const char *text, size_t size, const char *file, const char *password,
                       struct trust_secret *ret, struct diag *reterr)
{
        struct minisign_text t = {.next = text, .end = text + size, .file = file, .reterr = reterr};
        _cleanup_secret_ struct minisign_secret s = {0};
        int r;

        if (sodium_init() < 0)
                return -EIO;
        r = key_file_read(&t, &s, sizeof(s));
        if (r < 0)
                return r;
        if (memcmp(s.alg, MINISIGN_ALG_KEY, sizeof(s.alg)) != 0 ||
            memcmp(s.checksum_alg, MINISIGN_CHECKSUM_ALG, sizeof(s.checksum_alg)) != 0)
                return diag_set(reterr, -EBADMSG, file, 2, "not an Ed25519 secret key of minisign");
        if (memcmp(s.kdf_alg, MINISIGN_KDF_SCRYPT, sizeof(s.kdf_alg)) == 0) {
                r = secret_open(&s, password, file, reterr);
                if (r < 0)
                        return r;
        } else if (memcmp(s.kdf_alg, MINISIGN_KDF_NONE, sizeof(s.kdf_alg)) != 0)
                return diag_set(reterr, -EBADMSG, file, 2, "secret key encrypted in an unknown way");
        if (!is_key_pair(s.sealed.key))
                return diag_set(reterr, -EBADMSG, file, 2, "secret and public half do not belong together");
        memcpy(ret->id, s.sealed.id, sizeof(ret->id));
        memcpy(ret->secret_key, s.sealed.key, sizeof(ret->secret_key));
        return 0;
}

static void key_text(struct buf *b, const char *what, const void *data, size_t size)
{
        buf_add_string(b, MINISIGN_UNTRUSTED);
        buf_add_string(b, what);
        buf_add_string(b, "\n");
        minisign_add_base64(b, data, size);
}

static int secret_seal(struct minisign_secret *s, const char *password, enum trust_cost cost)
{
        memcpy(s->kdf_alg, MINISIGN_KDF_SCRYPT, sizeof(s->kdf_alg));
        randombytes_buf(s->salt, sizeof(s->salt));
        le64_set(s->ops_le, scrypt_costs[cost].ops);
        le64_set(s->memory_le, scrypt_costs[cost].memory);
        secret_checksum(s, s->sealed.checksum);
        return secret_crypt(s, password);
}

int trust_key_new(const char *password, enum trust_cost cost, char **ret_secret_text, char **ret_public_text)
{
        struct minisign_public public = {.alg = MINISIGN_ALG_KEY};
        _cleanup_secret_ struct minisign_secret s = {.alg = MINISIGN_ALG_KEY, .checksum_alg = MINISIGN_CHECKSUM_ALG};
        _cleanup_buf_ struct buf secret_text = {0}, public_text = {0};
        char comment[64] = "minisign public key ";
        int r;

        if (sodium_init() < 0)
                return -EIO;
        randombytes_buf(public.id, sizeof(public.id));
        crypto_sign_keypair(public.key, s.sealed.key);
        memcpy(s.sealed.id, public.id, sizeof(public.id));
        if (password) {
                r = secret_seal(&s, password, cost);
                if (r < 0)
                        return r;
        }
        trust_key_id_format(public.id, comment + strlen(comment));
        key_text(&public_text, comment, &public, sizeof(public));
        key_text(&secret_text, "minisign encrypted secret key", &s, sizeof(s));
        if (buf_error(&public_text) < 0 || buf_error(&secret_text) < 0)
                return -ENOMEM;
        *ret_public_text = buf_take(&public_text);
        *ret_secret_text = buf_take(&secret_text);
        return 0;
}
