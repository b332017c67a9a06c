/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Sets, maps and their elements as operations of a transaction. */
#include <stdbool.h>
#include "agent/enforce/txn.h"

struct set_spec {
        const char *name;
        uint32_t id; /* unique in the transaction */
        uint32_t flags; /* NFT_SET_* */
        uint32_t key_type; /* as nft(8) numbers its data types */
        uint32_t key_size;
        uint32_t header_offset; /* SET_KEY_INTEGER: where in the network header the key stands */
        bool is_host_order; /* of the key */
        bool is_verdict_map;
        uint32_t n_elements; /* at most: the kernel takes a faster table; 0: any number */
        uint64_t timeout_ms;
};
/* Data types of nft(8) (datatype.h); a concatenation takes six bits each. */
#define SET_KEY_INTEGER  4
#define SET_KEY_IPV4     7
#define SET_KEY_IPV6     8
#define SET_KEY_PROTOCOL 12
#define SET_KEY_PORT     13
#define SET_KEY_MARK     19
#define SET_KEY_UID      24

void set_add(struct txn *t, const char *table, const struct set_spec *spec);

struct element {
        const void *key;
        uint16_t key_size;
        uint32_t flags; /* NFT_SET_ELEM_* */
        const char *chain; /* verdict map: jump there */
};
/* Writes elements of one set, TXN_ELEMENTS_MAX an operation. */
struct elements {
        struct txn *txn;
        const char *table;
        const char *set;
        struct nlmsghdr *message;
        struct nlattr *list;
        unsigned n;
};
void elements_add(struct elements *e, const struct element *x);
void elements_end(struct elements *e);
