/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* An IPv4 or IPv6 address prefix in network byte order. Plain value. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct prefix {
        uint8_t family; /* AF_INET or AF_INET6 */
        uint8_t length; /* bits */
        uint8_t address[16]; /* IPv4 in the first four bytes; host bits are zero */
};

#define PREFIX_TEXT_MAX (INET6_ADDRSTRLEN + 4)

/* "149.154.160.0/20", "2001:db8::/32" or a bare address (full length).
 * -EINVAL malformed, -ERANGE host bits set. */
int prefix_parse(const char *text, struct prefix *ret);
const char *prefix_format(const struct prefix *p, char buf[static PREFIX_TEXT_MAX]);
bool prefix_contains(const struct prefix *outer, const struct prefix *inner);
