/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What table.c (the part that depends on the catalogue) and policy.c (the part that depends on
 * the policy) share. */
#include "agent/enforce/set.h"
#include "agent/enforce/table.h"

struct build {
        struct txn *txn;
        const struct table_spec *spec;
        const struct ruleset *rules; /* spec->rules */
        const char *table;
        uint32_t last_set_id;
};

struct family {
        uint8_t nfproto;
        int family;
        const char *prefix_map;
        const char *top_set;
        uint8_t top_bits[2]; /* whole bytes; the second when the first makes too many */
        uint32_t tops_max;
        const char *flow_set;
        uint32_t key_type;
        uint32_t size;
        uint32_t source; /* offset in the header: RFC 791 3.1, RFC 8200 3 */
        uint32_t destination;
};
#define N_FAMILIES 2
extern const struct family families[N_FAMILIES];

struct build build_begin(struct txn *t, const struct table_spec *spec);
const char *build_chain_name(const struct build *b, size_t channel, char buf[static TABLE_NAME_MAX]);
const char *build_map_name(const struct build *b, const char *name, char buf[static TABLE_NAME_MAX]);
void build_set(struct build *b, struct set_spec spec);
/* How many leading bits of an address the set of tops holds. */
unsigned build_top_bits(const struct build *b, const struct family *f);
/* policy.c: the sets of users, and all rules. */
void build_policy(struct build *b);
