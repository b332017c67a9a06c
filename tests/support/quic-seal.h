/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Makes the Initial packets that the tests of lib/wire/quic.h read. */
#include <stdbool.h>
#include <string.h>
#include <openssl/evp.h>

#include "wire/quic-crypto.h"

struct seal {
        uint32_t version;
        struct quic_cid dcid; /* in the header */
        struct quic_cid keys; /* that the keys follow from; size 0: dcid */
        uint8_t token_size;
        uint32_t number;
        uint8_t number_size; /* 0: four bytes */
        bool other_type; /* no Initial, but what follows it: 0-RTT (v1) */
};

static inline size_t seal_header(const struct seal *s, size_t sealed_size, uint8_t *ret)
{
        const struct quic_version *v = quic_version_find(s->version);
        unsigned number_size = s->number_size ? s->number_size : 4;
        uint8_t *p = ret;

        *p++ = (uint8_t)(0xc0 | (v->initial + s->other_type) << 4 | (number_size - 1));
        for (int i = 3; i >= 0; i--)
                *p++ = (uint8_t)(s->version >> (8 * i));
        *p++ = s->dcid.size;
        memcpy(p, s->dcid.bytes, s->dcid.size);
        p += s->dcid.size;
        *p++ = 0; /* source connection id */
        if (!s->other_type) {
                *p++ = s->token_size; /* below 64 */
                memset(p, 't', s->token_size);
                p += s->token_size;
        }
        sealed_size += number_size;
        *p++ = (uint8_t)(0x40 | sealed_size >> 8);
        *p++ = (uint8_t)sealed_size;
        return (size_t)(p - ret);
}

/* One packet around `size` bytes of frames, at most 16,000; returns its size. RFC 9001 5.3, 5.4. */
static inline size_t quic_seal(struct quic *q, const struct seal *s, const void *frames, size_t size, uint8_t *ret)
{
        unsigned number_size = s->number_size ? s->number_size : 4;
        size_t header = seal_header(s, size + QUIC_TAG_SIZE, ret);
        uint8_t *number = ret + header, *sealed = number + number_size, mask[16];
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        struct quic_keys k;
        int n, ok = c &&
                    quic_keys_derive(q, quic_version_find(s->version), s->keys.size ? &s->keys : &s->dcid, &k) == 0;

        for (unsigned i = 0; i < number_size; i++)
                number[i] = (uint8_t)(s->number >> (8 * (number_size - 1 - i)));
        for (unsigned i = 0; i < 4; i++)
                k.iv[11 - i] ^= (uint8_t)(s->number >> (8 * i));
        ok = ok && EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, k.key, k.iv) &&
             EVP_EncryptUpdate(c, NULL, &n, ret, (int)(header + number_size)) &&
             EVP_EncryptUpdate(c, sealed, &n, frames, (int)size) && EVP_EncryptFinal_ex(c, sealed + size, &n) &&
             EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, QUIC_TAG_SIZE, sealed + size) &&
             EVP_EncryptInit_ex(c, EVP_aes_128_ecb(), NULL, k.hp, NULL) &&
             EVP_EncryptUpdate(c, mask, &n, number + 4, 16);
        EVP_CIPHER_CTX_free(c);
        if (!ok)
                abort();
        ret[0] ^= mask[0] & 0x0f;
        for (unsigned i = 0; i < number_size; i++)
                number[i] ^= mask[1 + i];
        return header + number_size + size + QUIC_TAG_SIZE;
}
