/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "wire/quic-crypto.h"

static const struct quic_version versions[] = {
        /* RFC 9001 5.1, 5.2; RFC 9000 17.2 */
        {QUIC_VERSION_1,
         0,
         {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
          0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
         "quic key",
         "quic iv",
         "quic hp"},
        /* RFC 9369 3.2, 3.3 */
        {QUIC_VERSION_2,
         1,
         {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
          0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
         "quicv2 key",
         "quicv2 iv",
         "quicv2 hp"},
};

const struct quic_version *quic_version_find(uint32_t number)
{
        for (size_t i = 0; i < ELEMENTSOF(versions); i++)
                if (versions[i].number == number)
                        return &versions[i];
        return NULL;
}

int quic_new(struct quic **ret)
{
        _cleanup_quic_ struct quic *q = calloc(1, sizeof(*q));

        if (!q)
                return -ENOMEM;
        EVP_CIPHER *gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
        EVP_CIPHER *ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
        EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        q->gcm = EVP_CIPHER_CTX_new();
        q->ecb = EVP_CIPHER_CTX_new();
        q->hkdf = hkdf ? EVP_KDF_CTX_new(hkdf) : NULL;
        bool ok = q->gcm && q->ecb && q->hkdf && gcm && ecb &&
                  EVP_DecryptInit_ex2(q->gcm, gcm, NULL, NULL, NULL) == 1 &&
                  EVP_EncryptInit_ex2(q->ecb, ecb, NULL, NULL, NULL) == 1 &&
                  EVP_CIPHER_CTX_set_padding(q->ecb, 0) == 1;
        /* the contexts hold references */
        EVP_CIPHER_free(gcm);
        EVP_CIPHER_free(ecb);
        EVP_KDF_free(hkdf);
        if (!ok)
                return -ENOMEM;
        *ret = TAKE_PTR(q);
        return 0;
}

void quic_free(struct quic *q)
{
        if (!q)
                return;
        EVP_CIPHER_CTX_free(q->gcm);
        EVP_CIPHER_CTX_free(q->ecb);
        EVP_KDF_CTX_free(q->hkdf);
        free(q);
}

static int hkdf(struct quic *q, OSSL_PARAM params[static 5], void *ret, size_t size)
{
        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
        params[4] = OSSL_PARAM_construct_end();
        EVP_KDF_CTX_reset(q->hkdf);
        return EVP_KDF_derive(q->hkdf, ret, size, params) == 1 ? 0 : -EIO;
}

static int extract(struct quic *q, const struct quic_version *v, const struct quic_cid *dcid)
{
        int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
        OSSL_PARAM params[5];

        params[1] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
        params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)dcid->bytes, dcid->size);
        params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)v->salt, sizeof(v->salt));
        return hkdf(q, params, q->secret, sizeof(q->secret));
}

/* RFC 8446 7.1, HKDF-Expand-Label(secret, label, "", size) */
static int expand(struct quic *q, const char *label, void *ret, size_t size)
{
        int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
        uint8_t info[64] = {0, (uint8_t)size, (uint8_t)(6 + strlen(label)), 't', 'l', 's', '1', '3', ' '};
        OSSL_PARAM params[5];

        memcpy(info + 9, label, strlen(label));
        params[1] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
        params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, q->secret, sizeof(q->secret));
        params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, 9 + strlen(label) + 1);
        return hkdf(q, params, ret, size);
}

int quic_keys_derive(struct quic *q, const struct quic_version *v, const struct quic_cid *dcid, struct quic_keys *ret)
{
        struct quic_keys k;

        /* RFC 9001 5.2 */
        if (extract(q, v, dcid) < 0 || expand(q, "client in", q->secret, sizeof(q->secret)) < 0 ||
            expand(q, v->label_key, k.key, sizeof(k.key)) < 0 || expand(q, v->label_iv, k.iv, sizeof(k.iv)) < 0 ||
            expand(q, v->label_hp, k.hp, sizeof(k.hp)) < 0)
                return -EIO;
        *ret = k;
        return 0;
}

/* RFC 9000 A.3 */
static uint64_t number_decode(uint64_t expected, uint64_t truncated, unsigned bits)
{
        uint64_t window = UINT64_C(1) << bits, half = window / 2, max = UINT64_C(1) << 62;
        uint64_t candidate = (expected & ~(window - 1)) | truncated;

        if (candidate + half <= expected && candidate < max - window)
                return candidate + window;
        if (candidate > expected + half && candidate >= window)
                return candidate - window;
        return candidate;
}

/* RFC 9001 5.4: the header's first byte and packet number in the clear. Returns the number's size. */
static int header_unmask(struct quic *q, const struct quic_keys *keys, const struct quic_packet *p,
                         uint8_t ret_header[static 5])
{
        const uint8_t *number = p->data + p->header_size;
        uint8_t mask[QUIC_SAMPLE_SIZE];
        int size;

        /* the sample is taken as if the number had four bytes */
        if (p->size - p->header_size < 4 + QUIC_SAMPLE_SIZE)
                return -EBADMSG;
        if (EVP_EncryptInit_ex2(q->ecb, NULL, keys->hp, NULL, NULL) != 1 ||
            EVP_EncryptUpdate(q->ecb, mask, &size, number + 4, QUIC_SAMPLE_SIZE) != 1)
                return -EIO;
        ret_header[0] = p->data[0] ^ (mask[0] & 0x0f);
        size = (ret_header[0] & 3) + 1;
        for (int i = 0; i < size; i++)
                ret_header[1 + i] = number[i] ^ mask[1 + i];
        return size;
}

int quic_packet_open(struct quic *q, const struct quic_keys *keys, const struct quic_packet *p, uint64_t *number)
{
        uint8_t header[5], nonce[sizeof(keys->iv)], tag[QUIC_TAG_SIZE];
        uint64_t truncated = 0;
        int n, number_size;

        number_size = header_unmask(q, keys, p, header);
        if (number_size < 0)
                return number_size;
        for (int i = 0; i < number_size; i++)
                truncated = truncated << 8 | header[1 + i];
        truncated = number_decode(*number, truncated, 8 * (unsigned)number_size);
        memcpy(nonce, keys->iv, sizeof(nonce));
        for (unsigned i = 0; i < 8; i++)
                nonce[sizeof(nonce) - 1 - i] ^= (uint8_t)(truncated >> (8 * i));

        const uint8_t *sealed = p->data + p->header_size + number_size;
        int size = (int)(p->size - p->header_size) - number_size - QUIC_TAG_SIZE;
        memcpy(tag, sealed + size, sizeof(tag));
        /* RFC 9001 5.3: the header with its number is the associated data */
        if (EVP_DecryptInit_ex2(q->gcm, NULL, keys->key, nonce, NULL) != 1 ||
            EVP_DecryptUpdate(q->gcm, NULL, &n, header, 1) != 1 ||
            EVP_DecryptUpdate(q->gcm, NULL, &n, p->data + 1, (int)p->header_size - 1) != 1 ||
            EVP_DecryptUpdate(q->gcm, NULL, &n, header + 1, number_size) != 1 ||
            EVP_DecryptUpdate(q->gcm, q->plain, &n, sealed, size) != 1 ||
            EVP_CIPHER_CTX_ctrl(q->gcm, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) != 1)
                return -EIO;
        if (EVP_DecryptFinal_ex(q->gcm, q->plain + size, &n) != 1)
                return -EBADMSG;
        *number = truncated;
        return size;
}
