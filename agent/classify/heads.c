/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/classify/heads.h"

#include <string.h>
#include <sys/socket.h>
#include "wire/http.h"
#include "wire/tls.h"

#define SOCKS_4 4
#define SOCKS_5 5

struct reader {
        const struct ruleset *rules;
        uid_t uid;
        struct wire_bytes bytes;
        uint32_t entry; /* of the host that was read last, where it is blocked */
};

static bool is_blocked(struct reader *r, uint32_t entry)
{
        if (entry == 0 || rules_verdict(r->rules, r->rules->entries[entry].channel, r->uid) != VERDICT_BLOCK)
                return false;
        r->entry = entry;
        return true;
}

static bool name_is_blocked(struct reader *r, const struct wire_name *n)
{
        char name[WIRE_NAME_SIZE] = {};

        memcpy(name, n->text + 1, n->size - 1); /* behind its dot; shorter than the text */
        return is_blocked(r, rules_match_name(r->rules, name));
}

static bool host_is_blocked(struct reader *r, struct authority *a)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 2.5.5.2 */
        struct prefix p = {.family = AF_INET6, .length = 128};

        if (!authority_address(a))
                return name_is_blocked(r, &a->name);
        memcpy(p.address, a->literal.address, sizeof(p.address));
        if (memcmp(p.address, mapped, sizeof(mapped)) == 0)
                p = (struct prefix){.family = AF_INET, .length = 32};
        if (p.family == AF_INET)
                memcpy(p.address, a->literal.address + sizeof(mapped), 4);
        return is_blocked(r, rules_match_address(r->rules, &p));
}

/* Whole, and so is a second one, if any: the kernel side goes on behind them. */
static enum head read_hello(struct reader *r)
{
        struct tls_stream s = {};
        uint32_t pos = 0;

        for (;;)
                switch (tls_feed(&s, &r->bytes, &pos, r->bytes.size)) {
                case WIRE_FOUND:
                        if (name_is_blocked(r, &s.name))
                                return HEAD_BLOCKED;
                        tls_go_on(&s);
                        break;
                case WIRE_CUT:
                        return tls_is_between(&s) ? HEAD_PASSES : HEAD_UNREAD;
                case WIRE_NONE:
                        if (!tls_go_on(&s))
                                return HEAD_PASSES;
                        break;
                }
}

static enum head read_requests(struct reader *r)
{
        struct http_stream s = {};
        uint32_t pos = 0;

        for (;;)
                switch (http_feed(&s, &r->bytes, &pos, r->bytes.size)) {
                case HTTP_NAME:
                        if (host_is_blocked(r, &s.host))
                                return HEAD_BLOCKED;
                        break;
                case HTTP_TUNNEL:
                        return pos == r->bytes.size ? HEAD_REQUESTS : HEAD_UNREAD;
                case HTTP_STREAMS:
                case HTTP_ODD:
                        return HEAD_UNREAD;
                case HTTP_CUT:
                        return s.part == HTTP_METHOD && s.length == 0 ? HEAD_REQUESTS : HEAD_UNREAD;
                case HTTP_NONE:
                        return HEAD_PASSES;
                }
}

enum head head_read(const struct ruleset *rs, uid_t uid, const uint8_t *data, size_t size, uint32_t *ret_entry)
{
        struct reader r = {.rules = rs, .uid = uid, .bytes = {data, (uint32_t)size}};
        enum head h = HEAD_PASSES;

        if (size == 0)
                return HEAD_UNREAD;
        if (data[0] == TLS_HANDSHAKE || tls_is_aside(data[0]))
                h = read_hello(&r);
        else if (http_may_begin(data[0]))
                h = read_requests(&r);
        else if (data[0] == SOCKS_4 || data[0] == SOCKS_5)
                h = HEAD_UNREAD;
        if (h == HEAD_BLOCKED)
                *ret_entry = r.entry;
        return h;
}
