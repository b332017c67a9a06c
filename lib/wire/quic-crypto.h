/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* Packet protection of Initials (RFC 9001 5), the client's direction. */
#include <openssl/types.h>

#include "wire/quic.h"

#define QUIC_TAG_SIZE     16
#define QUIC_SAMPLE_SIZE  16
#define QUIC_DATAGRAM_MAX 65535

struct quic {
        EVP_CIPHER_CTX *gcm;
        EVP_CIPHER_CTX *ecb;
        EVP_KDF_CTX *hkdf;
        uint8_t secret[32]; /* from which expand() makes the next */
        uint8_t plain[QUIC_DATAGRAM_MAX];
};

/* What differs between the versions. */
struct quic_version {
        uint32_t number;
        uint8_t initial; /* the packet type's bits */
        uint8_t salt[20];
        const char *label_key;
        const char *label_iv;
        const char *label_hp;
};

const struct quic_version *quic_version_find(uint32_t number); /* NULL: unknown */

/* A protected packet inside a datagram. */
struct quic_packet {
        const struct quic_version *version;
        struct quic_cid dcid;
        uint8_t type;
        const uint8_t *data;
        size_t header_size; /* up to the packet number */
        size_t size; /* of the whole packet */
};

/* -EIO: libcrypto failed. */
int quic_keys_derive(struct quic *q, const struct quic_version *v, const struct quic_cid *dcid,
                     struct quic_keys *ret);

/* Decrypts into q->plain and returns the size there. *number is the packet number expected,
 * then the one found. -EBADMSG: not of these keys. -EIO: libcrypto failed. */
int quic_packet_open(struct quic *q, const struct quic_keys *keys, const struct quic_packet *p, uint64_t *number);
