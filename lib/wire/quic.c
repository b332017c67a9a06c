/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "wire/quic-crypto.h"
#include "wire/tls.h"

/* RFC 9000 19; an Initial holds no others (12.4) */
enum frame {
        FRAME_PADDING = 0x00,
        FRAME_PING = 0x01,
        FRAME_ACK = 0x02,
        FRAME_ACK_ECN = 0x03,
        FRAME_CRYPTO = 0x06,
        FRAME_CONNECTION_CLOSE = 0x1c,
};

/* Reads forward; what does not fit sets `bad` and reads as nothing from then on. */
struct reader {
        const uint8_t *data;
        size_t size;
        size_t pos;
        bool bad;
};

static const uint8_t *read_bytes(struct reader *r, uint64_t size)
{
        if (r->bad || size > r->size - r->pos) {
                r->bad = true;
                return NULL;
        }
        r->pos += size;
        return r->data + r->pos - size;
}

static uint64_t read_number(struct reader *r, size_t size)
{
        const uint8_t *b = read_bytes(r, size);
        uint64_t n = 0;

        for (size_t i = 0; b && i < size; i++)
                n = n << 8 | b[i];
        return n;
}

/* RFC 9000 16 */
static uint64_t read_varint(struct reader *r)
{
        size_t size = r->pos < r->size ? 1u << (r->data[r->pos] >> 6) : 1;

        return read_number(r, size) & ~(UINT64_C(3) << (8 * size - 2));
}

/* RFC 9000 17.2; longer connection ids are of an unknown version */
static void read_cid(struct reader *r, struct quic_cid *ret)
{
        uint64_t size = read_number(r, 1);
        const uint8_t *b = size <= QUIC_CID_MAX ? read_bytes(r, size) : NULL;

        if (!b) {
                r->bad = true;
                return;
        }
        ret->size = (uint8_t)size;
        memcpy(ret->bytes, b, size);
}

/* The next of the coalesced packets of a datagram. QUIC_MORE: *ret is one. */
static enum quic_result packet_next(struct reader *r, struct quic_packet *ret)
{
        size_t start = r->pos;
        struct quic_cid scid;
        uint8_t first = (uint8_t)read_number(r, 1);
        uint32_t version = (uint32_t)read_number(r, 4);

        *ret = (struct quic_packet){.version = quic_version_find(version), .type = first >> 4 & 3};
        read_cid(r, &ret->dcid);
        read_cid(r, &scid);
        /* RFC 8999 5.1; version 0 is a server's version negotiation */
        if (r->bad || !(first & 0x80) || version == 0)
                return QUIC_NOT_QUIC;
        /* RFC 9443 3: with the second bit unset it may be RTP; RFC 9287 unsets it in known versions only */
        if (!ret->version)
                return first & 0x40 && r->size >= QUIC_INITIAL_DATAGRAM_MIN ? QUIC_UNKNOWN_VERSION : QUIC_NOT_QUIC;
        if (ret->type == ret->version->initial)
                read_bytes(r, read_varint(r)); /* token */
        uint64_t size = read_varint(r);
        ret->header_size = r->pos - start;
        if (!read_bytes(r, size))
                return QUIC_NOT_QUIC;
        ret->data = r->data + start;
        ret->size = r->pos - start;
        return QUIC_MORE;
}

void quic_flow_init(struct quic_flow *f, struct quic *q)
{
        /* `stream` is read where `have` says so */
        memset(f, 0, offsetof(struct quic_flow, stream));
        f->quic = q;
}

static void flow_start(struct quic_flow *f, const struct quic_packet *p, const struct quic_keys *keys)
{
        unsigned starts = f->starts + 1;

        quic_flow_init(f, f->quic);
        f->starts = starts;
        f->version = p->version->number;
        f->dcid = p->dcid;
        f->keys = *keys;
}

/* Decrypts an Initial and returns its size in q->plain. Its keys follow from the client's
 * first destination connection id (RFC 9001 5.2), also when the server has chosen another since
 * or the version has changed (RFC 9369 4.1); else this is a connection's first, or the first
 * after a Retry, which sends the hello again. */
static int flow_open(struct quic_flow *f, const struct quic_packet *p)
{
        struct quic_keys keys = f->keys;
        uint64_t number = f->next_number;
        int size, r;

        if (f->version != 0) {
                if (f->version != p->version->number) {
                        r = quic_keys_derive(f->quic, p->version, &f->dcid, &keys);
                        if (r < 0)
                                return r;
                }
                size = quic_packet_open(f->quic, &keys, p, &number);
                if (size >= 0) {
                        f->version = p->version->number;
                        f->keys = keys;
                        if (number >= f->next_number)
                                f->next_number = number + 1;
                        return size;
                }
                if (size != -EBADMSG ||
                    (f->dcid.size == p->dcid.size && memcmp(f->dcid.bytes, p->dcid.bytes, p->dcid.size) == 0))
                        return size;
        }
        r = quic_keys_derive(f->quic, p->version, &p->dcid, &keys);
        if (r < 0)
                return r;
        number = 0;
        size = quic_packet_open(f->quic, &keys, p, &number);
        if (size < 0)
                return size;
        flow_start(f, p, &keys);
        f->next_number = number + 1;
        return size;
}

static enum quic_result flow_add(struct quic_flow *f, uint64_t offset, const uint8_t *data, uint64_t size)
{
        if (offset > QUIC_CRYPTO_MAX || size > QUIC_CRYPTO_MAX - offset)
                return QUIC_TOO_LARGE;
        for (size_t i = offset; i < offset + size; i++) {
                uint8_t bit = (uint8_t)(1 << i % 8);
                /* RFC 9000 2.2: what was sent once must not change; a server may keep either */
                if (f->have[i / 8] & bit && f->stream[i] != data[i - offset])
                        return QUIC_MALFORMED;
                f->have[i / 8] |= bit;
                f->stream[i] = data[i - offset];
        }
        f->begun |= size > 0;
        if (size > 0 && f->top < offset + size)
                f->top = offset + size;
        while (f->whole < QUIC_CRYPTO_MAX && f->have[f->whole / 8] & 1 << f->whole % 8)
                f->whole++;
        return QUIC_MORE;
}

/* RFC 9000 19.3: the rest of an ACK */
static void read_ack(struct reader *r, bool ecn)
{
        read_varint(r); /* largest acknowledged */
        read_varint(r); /* delay */
        uint64_t ranges = read_varint(r);
        read_varint(r); /* first range */
        for (; ranges > 0 && !r->bad; ranges--) {
                read_varint(r);
                read_varint(r);
        }
        for (unsigned i = 0; ecn && i < 3; i++)
                read_varint(r);
}

static enum quic_result read_crypto(struct quic_flow *f, struct reader *r, size_t datagram_size)
{
        uint64_t offset = read_varint(r), size = read_varint(r);
        const uint8_t *data = read_bytes(r, size);

        if (!data || datagram_size < QUIC_INITIAL_DATAGRAM_MIN)
                return QUIC_MALFORMED;
        return flow_add(f, offset, data, size);
}

/* The frames of an Initial, decrypted; `datagram_size` is of the datagram around it. */
static enum quic_result frames_read(struct quic_flow *f, size_t size, size_t datagram_size)
{
        struct reader r = {.data = f->quic->plain, .size = size};
        enum quic_result result = QUIC_MORE;

        while (r.pos < r.size && !r.bad && result == QUIC_MORE) {
                uint64_t frame = read_varint(&r);
                switch (frame) {
                case FRAME_PADDING:
                case FRAME_PING:
                        break;
                case FRAME_ACK:
                case FRAME_ACK_ECN:
                        read_ack(&r, frame == FRAME_ACK_ECN);
                        break;
                case FRAME_CRYPTO:
                        result = read_crypto(f, &r, datagram_size);
                        break;
                case FRAME_CONNECTION_CLOSE:
                        read_varint(&r); /* error code */
                        read_varint(&r); /* frame type */
                        read_bytes(&r, read_varint(&r)); /* reason */
                        break;
                default: /* switch: not an enum */
                        r.bad = true;
                }
        }
        return r.bad ? QUIC_MALFORMED : result;
}

/* A name that a C string and a rule can hold: RFC 6066 3 allows ASCII without controls. */
static enum quic_result name_copy(const struct wire_name *name, char *ret_name)
{
        size_t size = name->size - 1;

        if (size == 0)
                return QUIC_NO_NAME;
        for (size_t i = 1; i <= size; i++)
                if (name->text[i] <= ' ' || name->text[i] > '~')
                        return QUIC_MALFORMED;
        memcpy(ret_name, name->text + 1, size);
        ret_name[size] = 0;
        return QUIC_FOUND;
}

/* The hello at `pos` of the stream, as far as it is there. *ret_size is of the whole message. */
static enum quic_result hello_name(const struct quic_flow *f, size_t pos, size_t *ret_size, char *ret_name)
{
        const uint8_t *b = f->stream + pos;
        size_t size = 4 + ((size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3]), there = f->whole - pos;
        struct tls_stream tls = {.record = TLS_NO_RECORDS};
        struct wire_bytes bytes = {b, 0};
        uint32_t at = 0;

        if (b[0] != 1) /* RFC 8446 4: client_hello */
                return QUIC_MALFORMED;
        if (size > QUIC_CRYPTO_MAX - pos)
                return QUIC_TOO_LARGE;
        *ret_size = size;
        bytes.size = (uint32_t)there;
        switch (tls_feed(&tls, &bytes, &at, bytes.size)) {
        case WIRE_FOUND:
                return name_copy(&tls.name, ret_name);
        case WIRE_NONE:
                return QUIC_NO_NAME;
        case WIRE_CUT:
                break;
        }
        return there < size ? QUIC_MORE : QUIC_NO_NAME;
}

/* After a HelloRetryRequest a second hello follows the first; the last name counts. */
static enum quic_result flow_name(struct quic_flow *f, char *ret_name)
{
        enum quic_result result = f->begun && f->whole == 0 ? QUIC_HEADLESS : QUIC_MORE;
        char name[WIRE_NAME_SIZE];
        size_t size;

        for (size_t pos = 0; f->whole >= pos + 4; pos += size) {
                enum quic_result r = hello_name(f, pos, &size, name);
                if (r == QUIC_MALFORMED || r == QUIC_TOO_LARGE)
                        return f->final = r;
                if (result == QUIC_MORE || r == QUIC_FOUND)
                        result = r;
                if (size > f->whole - pos)
                        break;
                f->starts = 0;
                f->complete = pos + size;
        }
        if (result == QUIC_FOUND)
                memcpy(ret_name, name, strlen(name) + 1);
        return result;
}

static bool is_same_cid(const struct quic_cid *a, const struct quic_cid *b)
{
        return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

bool quic_flow_is_of(const struct quic_flow *f, const uint8_t *datagram, size_t size)
{
        struct reader r = {.data = datagram, .size = size};
        struct quic_cid dcid;

        read_bytes(&r, 5); /* flags and version */
        read_cid(&r, &dcid);
        return !r.bad && f->version && is_same_cid(&dcid, &f->dcid);
}

int quic_flow_feed(struct quic_flow *f, const uint8_t *datagram, size_t size, char ret_name[static WIRE_NAME_SIZE])
{
        struct reader r = {.data = datagram, .size = size};
        enum quic_result result = QUIC_MORE;
        bool opened = false, sealed = false;
        struct quic_cid dcid = {};

        if (f->final != QUIC_MORE)
                return f->final;
        if (size > QUIC_DATAGRAM_MAX)
                return QUIC_NOT_QUIC;
        for (unsigned n = 0; r.pos < r.size; n++) {
                struct quic_packet p;

                result = packet_next(&r, &p);
                if (result != QUIC_MORE)
                        break;
                if (n == QUIC_PACKETS_MAX)
                        return f->final = QUIC_TOO_LARGE;
                if (n == 0)
                        dcid = p.dcid;
                else if (!is_same_cid(&dcid, &p.dcid)) /* RFC 9000 12.2 */
                        return f->final = QUIC_MALFORMED;
                if (p.type != p.version->initial)
                        continue;
                int plain = flow_open(f, &p);
                sealed |= plain == -EBADMSG;
                if (plain == -EBADMSG)
                        continue;
                if (plain < 0)
                        return plain;
                opened = true;
                result = f->starts > QUIC_STARTS_MAX ? QUIC_TOO_LARGE : frames_read(f, (size_t)plain, size);
                if (result != QUIC_MORE)
                        return f->final = result;
        }
        if (opened)
                return flow_name(f, ret_name);
        if (sealed)
                return QUIC_UNREADABLE;
        return result == QUIC_UNKNOWN_VERSION ? result : QUIC_NOT_QUIC;
}
