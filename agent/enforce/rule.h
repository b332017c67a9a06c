/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One nftables rule, expression by expression. Failures stick to the transaction. */
#include <libnftnl/rule.h>
#include <sys/uio.h>
#include "agent/enforce/txn.h"

struct rule {
        struct txn *txn;
        struct nftnl_rule *rule;
};

/* 32-bit registers of nf_tables, 16 of them; a value takes as many as its size needs. */
#define RULE_REG(n) (NFT_REG32_00 + (n))

struct rule rule_begin(struct txn *t, const char *table, const char *chain);
void rule_end(struct rule *r);

void rule_meta(struct rule *r, uint32_t key, uint32_t reg);
struct rule_field {
        uint32_t base; /* NFT_PAYLOAD_* */
        uint32_t offset;
        uint32_t size;
};
void rule_payload(struct rule *r, struct rule_field field, uint32_t reg);
void rule_compare(struct rule *r, uint32_t reg, uint32_t op, struct iovec data); /* NFT_CMP_EQ, … */
void rule_mask(struct rule *r, uint32_t from, uint32_t to, struct iovec mask); /* of 16 bytes at most */
void rule_lookup(struct rule *r, const char *set, uint32_t reg);
void rule_verdict_map(struct rule *r, const char *map, uint32_t reg);
void rule_counter(struct rule *r);
void rule_reject(struct rule *r, uint32_t type, uint8_t code);
void rule_verdict(struct rule *r, int verdict, const char *chain); /* NFT_GOTO, NFT_RETURN, … */
