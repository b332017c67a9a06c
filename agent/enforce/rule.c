/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h> /* expr.h needs it */
#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include "agent/enforce/rule.h"

struct number {
        uint16_t attr; /* 0 ends the list: NFTNL_EXPR_NAME is none of ours */
        uint32_t value;
};
#define NUMBERS(...) ((const struct number[]){__VA_ARGS__, {}})

struct rule rule_begin(struct txn *t, const char *table, const char *chain)
{
        struct rule r = {.txn = t, .rule = nftnl_rule_alloc()};

        if (!r.rule || nftnl_rule_set_str(r.rule, NFTNL_RULE_TABLE, table) < 0 ||
            nftnl_rule_set_str(r.rule, NFTNL_RULE_CHAIN, chain) < 0)
                txn_fail(t, -ENOMEM);
        if (r.rule)
                nftnl_rule_set_u32(r.rule, NFTNL_RULE_FAMILY, NFPROTO_INET);
        return r;
}

void rule_end(struct rule *r)
{
        struct nlmsghdr *nlh = txn_add(r->txn, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

        if (!r->rule)
                return;
        nftnl_rule_nlmsg_build_payload(nlh, r->rule);
        nftnl_rule_free(r->rule);
        r->rule = NULL;
}

/* NULL when memory is short. */
static struct nftnl_expr *add(struct rule *r, const char *name, const struct number *numbers)
{
        struct nftnl_expr *e = r->rule ? nftnl_expr_alloc(name) : NULL;

        if (!e) {
                txn_fail(r->txn, -ENOMEM);
                return NULL;
        }
        nftnl_rule_add_expr(r->rule, e);
        for (; numbers && numbers->attr != 0; numbers++)
                nftnl_expr_set_u32(e, numbers->attr, numbers->value);
        return e;
}

static void add_data(struct rule *r, struct nftnl_expr *e, uint16_t attr, struct iovec data)
{
        if (e && nftnl_expr_set(e, attr, data.iov_base, (uint32_t)data.iov_len) < 0)
                txn_fail(r->txn, -ENOMEM);
}

static void add_string(struct rule *r, struct nftnl_expr *e, uint16_t attr, const char *s)
{
        if (e && nftnl_expr_set_str(e, attr, s) < 0)
                txn_fail(r->txn, -ENOMEM);
}

void rule_meta(struct rule *r, uint32_t key, uint32_t reg)
{
        add(r, "meta", NUMBERS({NFTNL_EXPR_META_KEY, key}, {NFTNL_EXPR_META_DREG, reg}));
}

void rule_payload(struct rule *r, struct rule_field field, uint32_t reg)
{
        add(r, "payload",
            NUMBERS({NFTNL_EXPR_PAYLOAD_DREG, reg}, {NFTNL_EXPR_PAYLOAD_BASE, field.base},
                    {NFTNL_EXPR_PAYLOAD_OFFSET, field.offset}, {NFTNL_EXPR_PAYLOAD_LEN, field.size}));
}

void rule_compare(struct rule *r, uint32_t reg, uint32_t op, struct iovec data)
{
        struct nftnl_expr *e = add(r, "cmp", NUMBERS({NFTNL_EXPR_CMP_SREG, reg}, {NFTNL_EXPR_CMP_OP, op}));

        add_data(r, e, NFTNL_EXPR_CMP_DATA, data);
}

void rule_mask(struct rule *r, uint32_t from, uint32_t to, struct iovec mask)
{
        static uint8_t zero[16];
        struct nftnl_expr *e = add(r, "bitwise",
                                   NUMBERS({NFTNL_EXPR_BITWISE_SREG, from}, {NFTNL_EXPR_BITWISE_DREG, to},
                                           {NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL},
                                           {NFTNL_EXPR_BITWISE_LEN, (uint32_t)mask.iov_len}));

        add_data(r, e, NFTNL_EXPR_BITWISE_MASK, mask);
        add_data(r, e, NFTNL_EXPR_BITWISE_XOR, (struct iovec){zero, mask.iov_len});
}

void rule_lookup(struct rule *r, const char *set, uint32_t reg)
{
        struct nftnl_expr *e = add(r, "lookup", NUMBERS({NFTNL_EXPR_LOOKUP_SREG, reg}));

        add_string(r, e, NFTNL_EXPR_LOOKUP_SET, set);
}

void rule_verdict_map(struct rule *r, const char *map, uint32_t reg)
{
        struct nftnl_expr *e =
                add(r, "lookup", NUMBERS({NFTNL_EXPR_LOOKUP_SREG, reg}, {NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT}));

        add_string(r, e, NFTNL_EXPR_LOOKUP_SET, map);
}

void rule_counter(struct rule *r)
{
        add(r, "counter", NULL);
}

void rule_reject(struct rule *r, uint32_t type, uint8_t code)
{
        struct nftnl_expr *e = add(r, "reject", NUMBERS({NFTNL_EXPR_REJECT_TYPE, type}));

        if (e)
                nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, code);
}

void rule_verdict(struct rule *r, int verdict, const char *chain)
{
        struct nftnl_expr *e =
                add(r, "immediate",
                    NUMBERS({NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT}, {NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict}));

        if (chain)
                add_string(r, e, NFTNL_EXPR_IMM_CHAIN, chain);
}
