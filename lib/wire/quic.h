/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/* The server name that a QUIC client asks for (RFC 9000, RFC 9001; version 2: RFC 9369). Its
 * first packets, the Initials, are encrypted with keys that follow from the packet itself.
 *
 * A struct quic holds what decryption needs; a process has one, for one thread. A struct
 * quic_flow is what is known of the datagrams from one local port to one remote address and
 * port, in constant memory; the caller owns it. It may hold one connection after another:
 * feed it every datagram with a long header, also after a name was found. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "wire/load.h"

#define QUIC_VERSION_1   0x00000001u
#define QUIC_VERSION_2   0x6b3343cfu /* RFC 9369 3.1 */
#define QUIC_CRYPTO_MAX  16384 /* bytes of a connection's CRYPTO stream that are kept */
#define QUIC_PACKETS_MAX 8 /* in a datagram: 4 encryption levels, each twice */
#define QUIC_STARTS_MAX  8 /* connections begun without a whole hello; Retry begins one anew */
#define QUIC_CID_MAX     20 /* RFC 9000 17.2 */
/* RFC 9000 14.1: a server discards the Initials of a smaller datagram, so a client sends none */
#define QUIC_INITIAL_DATAGRAM_MIN 1200

/* What is known of a flow after a datagram. */
enum quic_result {
        QUIC_MORE, /* a hello that goes on in a later datagram */
        QUIC_HEADLESS, /* a hello whose beginning is still to come */
        QUIC_FOUND,
        QUIC_NO_NAME, /* a hello without a server name */
        QUIC_NOT_QUIC, /* the datagram holds no Initial of a client that could be read */
        QUIC_UNREADABLE, /* an Initial with other keys: of a connection whose first one was not seen */
        QUIC_UNKNOWN_VERSION, /* QUIC, but a version whose Initials have other keys */
        QUIC_MALFORMED, /* authentic, but no server should accept it; stays so */
        QUIC_TOO_LARGE, /* over a limit above; stays so */
        _QUIC_RESULT_MAX,
};

struct quic;

struct quic_keys {
        uint8_t key[16];
        uint8_t iv[12];
        uint8_t hp[16]; /* header protection */
};

struct quic_cid {
        uint8_t size;
        uint8_t bytes[QUIC_CID_MAX];
};

struct quic_flow {
        struct quic *quic;
        uint32_t version; /* 0: no connection yet */
        struct quic_cid dcid; /* the one the keys follow from */
        struct quic_keys keys;
        uint64_t next_number; /* behind the highest packet number */
        enum quic_result final; /* QUIC_MORE: none yet */
        unsigned starts;
        bool begun; /* a part of the hello is there */
        size_t whole; /* bytes of `stream` before its first hole */
        size_t top; /* bytes before the end of the last part that is there */
        size_t complete; /* bytes of the hellos that are there to their end */
        uint8_t have[QUIC_CRYPTO_MAX / 8]; /* bit i: byte i of `stream` is there */
        uint8_t stream[QUIC_CRYPTO_MAX];
};

/* -ENOMEM, also when libcrypto lacks an algorithm. */
int quic_new(struct quic **ret);
void quic_free(struct quic *q);
DEFINE_CLEANUP(struct quic, quic_free);
#define _cleanup_quic_ _cleanup_(quic_freep)

/* False: a part of a hello is there without the rest. What a server puts together of such parts, of which each may have come
 * by another socket, need not be what is read here. */
static inline bool quic_flow_is_whole(const struct quic_flow *f)
{
        return f->top <= f->complete;
}

/* Whether a server takes the datagram for one of this connection, by its first packet's destination. */
bool quic_flow_is_of(const struct quic_flow *f, const uint8_t *datagram, size_t size);

/* Needs no counterpart: a flow owns nothing. */
void quic_flow_init(struct quic_flow *f, struct quic *q);

/* Takes the payload of one UDP datagram (split what segmentation offload has joined). Returns
 * an enum quic_result, or -EIO when libcrypto failed. Writes *ret_name, without a trailing
 * dot, for QUIC_FOUND only: never a part of a name. */
int quic_flow_feed(struct quic_flow *f, const uint8_t *datagram, size_t size, char ret_name[static WIRE_NAME_SIZE]);
