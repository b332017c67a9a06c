/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Turns nested prefixes into disjoint ranges, because an nftables interval map may not hold
 * overlapping elements: the longest prefix wins. Pure. */
#include <stddef.h>
#include <stdint.h>
#include "base/prefix.h"

struct range_prefix {
        const struct prefix *prefix;
        uint16_t target; /* 0: leaves a hole in a shorter prefix */
};

struct range { /* both ends belong to it; IPv4 in the first four bytes */
        uint8_t first[16];
        uint8_t last[16];
        uint16_t target;
};

/* Takes the prefixes of one family (others are ignored), sorts the array in place. Of equal
 * prefixes the first one counts. Neighbours with the same target become one range, target 0 is
 * left out. Ascending; *ret is NULL when nothing is left; free(). -ENOMEM. */
int ranges_flatten(struct range_prefix *prefixes, size_t n_prefixes, int family, struct range **ret, size_t *ret_n);
