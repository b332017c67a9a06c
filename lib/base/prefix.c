/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/prefix.h"
#include "base/text.h"

static bool has_host_bits(const struct prefix *p, size_t size)
{
        for (size_t i = p->length / 8; i < size; i++) {
                uint8_t host = i == p->length / 8 ? (uint8_t)(0xff >> (p->length % 8)) : 0xff;

                if (p->address[i] & host)
                        return true;
        }
        return false;
}

int prefix_parse(const char *text, struct prefix *ret)
{
        const char *slash = strchr(text, '/');
        size_t size = slash ? (size_t)(slash - text) : strlen(text);
        char address[INET6_ADDRSTRLEN];
        struct prefix p = {0};
        uint64_t length;
        int r;

        if (size >= sizeof(address))
                return -EINVAL;
        memcpy(address, text, size);
        address[size] = 0;
        p.family = strchr(address, ':') ? AF_INET6 : AF_INET;
        if (inet_pton(p.family, address, p.address) != 1)
                return -EINVAL;
        p.length = p.family == AF_INET ? 32 : 128;
        if (slash) {
                if (strlen(slash + 1) > 3)
                        return -EINVAL;
                r = parse_u64(slash + 1, p.length, &length);
                if (r < 0)
                        return -EINVAL;
                p.length = (uint8_t)length;
        }
        if (has_host_bits(&p, p.family == AF_INET ? 4 : 16))
                return -ERANGE;
        *ret = p;
        return 0;
}

const char *prefix_format(const struct prefix *p, char buf[static PREFIX_TEXT_MAX])
{
        char address[INET6_ADDRSTRLEN] = "";

        inet_ntop(p->family, p->address, address, sizeof(address));
        snprintf(buf, PREFIX_TEXT_MAX, "%s/%u", address, p->length);
        return buf;
}

bool prefix_contains(const struct prefix *outer, const struct prefix *inner)
{
        size_t whole = outer->length / 8;
        uint8_t mask = (uint8_t)(0xff00 >> (outer->length % 8));

        if (outer->family != inner->family || outer->length > inner->length)
                return false;
        if (memcmp(outer->address, inner->address, whole) != 0)
                return false;
        return mask == 0 || ((outer->address[whole] ^ inner->address[whole]) & mask) == 0;
}
