/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "agent/enforce/refusal.h"
#include "base/buf.h"

#define HEADER_SIZE    12
#define LABEL_MAX      63
#define TYPE_OPT       41 /* RFC 6891 6.1.1 */
#define OPTION_EDE     15 /* RFC 8914 2 */
#define EDE_FILTERED   17
#define RCODE_REFUSED  5
#define RCODE_NXDOMAIN 3
#define UDP_SIZE       1232 /* that we would take */
#define RECORDS_MAX    64 /* that are looked at for an OPT */

struct query {
        const uint8_t *data;
        size_t size;
        size_t question; /* its size; 0: none that could be read */
        bool edns;
        bool dnssec_ok;
};

static unsigned be16(const uint8_t *b)
{
        return (unsigned)b[0] << 8 | b[1];
}

/* Behind the name at `pos`; 0 when it is malformed. A pointer (RFC 1035 4.1.4) ends it. */
static size_t skip_name(const struct query *q, size_t pos)
{
        while (pos < q->size && q->data[pos] > 0 && q->data[pos] <= LABEL_MAX)
                pos += 1u + q->data[pos];
        if (pos + 1 < q->size && (q->data[pos] & 0xc0) == 0xc0)
                return pos + 2;
        return pos < q->size && q->data[pos] == 0 ? pos + 1 : 0;
}

static void find_opt(struct query *q, size_t pos, unsigned n)
{
        for (unsigned i = 0; i < n && i < RECORDS_MAX; i++) {
                pos = skip_name(q, pos);
                if (pos == 0 || q->size - pos < 10)
                        return;
                if (be16(q->data + pos) == TYPE_OPT) {
                        q->edns = true;
                        q->dnssec_ok = q->data[pos + 6] & 0x80;
                        return;
                }
                pos += 10 + be16(q->data + pos + 8);
                if (pos > q->size)
                        return;
        }
}

static void read_query(struct query *q)
{
        size_t end;

        if (be16(q->data + 4) != 1)
                return;
        end = skip_name(q, HEADER_SIZE);
        if (end == 0 || q->data[end - 1] != 0 || q->size - end < 4)
                return;
        q->question = end + 4 - HEADER_SIZE;
        find_opt(q, end + 4, be16(q->data + 6) + be16(q->data + 8) + be16(q->data + 10));
}

/* Never ends within a character of UTF-8. */
static size_t text_size(const char *text)
{
        size_t n = strlen(text);

        if (n <= REFUSAL_TEXT_MAX)
                return n;
        for (n = REFUSAL_TEXT_MAX; n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80; n--)
                ;
        return n;
}

static void add_opt(struct buf *b, const struct query *q, const char *text)
{
        size_t size = text_size(text);

        buf_add(b, "", 1);
        buf_add_be16(b, TYPE_OPT);
        buf_add_be16(b, UDP_SIZE);
        buf_add_be16(b, 0);
        buf_add_be16(b, q->dnssec_ok ? 0x8000 : 0);
        buf_add_be16(b, (uint16_t)(4 + 2 + size));
        buf_add_be16(b, OPTION_EDE);
        buf_add_be16(b, (uint16_t)(2 + size));
        buf_add_be16(b, EDE_FILTERED);
        buf_add(b, text, size);
}

int refusal_build(const uint8_t *query, size_t size, const char *text, uint8_t ret[static REFUSAL_MAX])
{
        struct query q = {.data = query, .size = size};
        _cleanup_buf_ struct buf b = {};
        int r;

        if (size < HEADER_SIZE)
                return -EBADMSG;
        read_query(&q);
        buf_add(&b, query, 2);
        /* RFC 1035 4.1.1: QR, opcode and RD as asked; RA and the code */
        buf_add(&b, (uint8_t[]){0x80 | (query[2] & 0x79), 0x80 | RCODE_REFUSED}, 2);
        buf_add_be16(&b, q.question ? 1 : 0);
        buf_add_be16(&b, 0);
        buf_add_be16(&b, 0);
        buf_add_be16(&b, q.edns ? 1 : 0);
        buf_add(&b, query + HEADER_SIZE, q.question);
        if (q.edns)
                add_opt(&b, &q, text);
        r = buf_error(&b);
        if (r < 0)
                return r;
        if (b.size > REFUSAL_MAX)
                return -EBADMSG;
        memcpy(ret, b.data, b.size);
        return (int)b.size;
}

void refusal_deny(uint8_t *answer, size_t size)
{
        if (size >= HEADER_SIZE)
                answer[3] = (answer[3] & 0xf0) | RCODE_NXDOMAIN;
}
