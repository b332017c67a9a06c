/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the policy decides about the table: the sets of users and every rule. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <string.h>
#include "agent/enforce/build.h"
#include "agent/enforce/rule.h"

#define QUIC_PORT 443

/* Whom a channel's chain rejects. */
enum who {
        WHO_NOBODY,
        WHO_ALL,
        WHO_ALL_BUT, /* set exempt_N-VERSION */
        WHO_ONLY, /* set blocked_N-VERSION */
};

/* The exemptions of one channel; they are sorted by channel. */
struct users {
        const struct rule_exemption *list;
        size_t n;
};

static struct users users_of(const struct ruleset *r, size_t channel, size_t *at)
{
        struct users u = {.n = 0};

        while (*at < r->n_exemptions && r->exemptions[*at].channel < channel)
                (*at)++;
        u.list = r->exemptions + *at;
        while (*at < r->n_exemptions && r->exemptions[*at].channel == channel) {
                (*at)++;
                u.n++;
        }
        return u;
}

static enum who who_of(const struct ruleset *r, size_t channel, const struct users *u)
{
        bool blocks = r->channels[channel].verdict == VERDICT_BLOCK;

        if (r->mode == POLICY_MODE_MONITOR)
                return WHO_NOBODY;
        for (size_t i = 0; i < u->n; i++)
                if ((u->list[i].verdict == VERDICT_BLOCK) != blocks)
                        return blocks ? WHO_ALL_BUT : WHO_ONLY;
        return blocks ? WHO_ALL : WHO_NOBODY;
}

static const char *users_set(const struct build *b, size_t channel, enum who who, char buf[static TABLE_NAME_MAX])
{
        snprintf(buf, TABLE_NAME_MAX, "%s_%zu-%u", who == WHO_ONLY ? "blocked" : "exempt", channel,
                 b->spec->users_version);
        return buf;
}

/* The users whose verdict differs from everyone's. */
static void add_users(struct build *b, const char *set, bool blocked, const struct users *u)
{
        struct elements e = {.txn = b->txn, .table = b->table, .set = set};

        build_set(b, (struct set_spec){.name = set, .key_type = SET_KEY_UID, .key_size = 4, .is_host_order = true});
        for (size_t i = 0; i < u->n; i++) {
                uint32_t uid = u->list[i].uid;

                if ((u->list[i].verdict == VERDICT_BLOCK) == blocked)
                        elements_add(&e, &(struct element){.key = &uid, .key_size = sizeof(uid)});
        }
        elements_end(&e);
}

static void match_family(struct rule *r, const struct family *f)
{
        rule_meta(r, NFT_META_NFPROTO, RULE_REG(0));
        rule_compare(r, RULE_REG(0), NFT_CMP_EQ, (struct iovec){(void *)&f->nfproto, 1});
}

static void match_protocol(struct rule *r, uint8_t protocol)
{
        rule_meta(r, NFT_META_L4PROTO, RULE_REG(0));
        rule_compare(r, RULE_REG(0), NFT_CMP_EQ, (struct iovec){&protocol, 1});
}

/* Nearly every packet is unmarked: comparing with 0 costs half of a look-up. */
static void add_mark_rule(struct build *b)
{
        struct rule r = rule_begin(b->txn, b->table, "output");
        char map[TABLE_NAME_MAX];
        uint32_t mask = b->spec->options->mark_mask, none = 0;

        rule_meta(&r, NFT_META_MARK, RULE_REG(0));
        rule_mask(&r, RULE_REG(0), RULE_REG(0), (struct iovec){&mask, sizeof(mask)});
        rule_compare(&r, RULE_REG(0), NFT_CMP_NEQ, (struct iovec){&none, sizeof(none)});
        rule_verdict_map(&r, build_map_name(b, "channels", map), RULE_REG(0));
        rule_end(&r);
}

static void match_tops(struct build *b, struct rule *r, const struct family *f)
{
        const struct rule_field top = {NFT_PAYLOAD_NETWORK_HEADER, f->destination, build_top_bits(b, f) / 8};
        char name[TABLE_NAME_MAX];

        rule_payload(r, top, RULE_REG(0));
        rule_lookup(r, build_map_name(b, f->top_set, name), RULE_REG(0));
}

/* Nearly every address is far from all prefixes, and its leading bits tell: one look-up in a bitmap
 * (a hash table for IPv6) instead of a dozen steps through a tree. It comes first, and which family
 * the packet is of when it has hit something. */
static void add_prefix_rule(struct build *b, const char *chain, const struct family *f)
{
        struct rule r = rule_begin(b->txn, b->table, chain);
        char name[TABLE_NAME_MAX];

        if (f->family == AF_INET)
                match_tops(b, &r, f);
        match_family(&r, f);
        if (f->family == AF_INET6)
                match_tops(b, &r, f);
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_NETWORK_HEADER, f->destination, f->size}, RULE_REG(0));
        rule_verdict_map(&r, build_map_name(b, f->prefix_map, name), RULE_REG(0));
        rule_end(&r);
}

static void add_quic_rule(struct build *b)
{
        struct rule r = rule_begin(b->txn, b->table, "output");
        uint16_t port_be = htons(QUIC_PORT);

        match_protocol(&r, IPPROTO_UDP);
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2}, RULE_REG(0));
        rule_compare(&r, RULE_REG(0), NFT_CMP_EQ, (struct iovec){&port_be, sizeof(port_be)});
        rule_counter(&r);
        rule_reject(&r, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
        rule_end(&r);
}

static void add_flow_rule(struct build *b, const struct family *f)
{
        struct rule r = rule_begin(b->txn, b->table, "output");
        uint32_t slots = f->size / 4;
        char set[TABLE_NAME_MAX];

        match_family(&r, f);
        rule_meta(&r, NFT_META_L4PROTO, RULE_REG(0));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_NETWORK_HEADER, f->source, f->size}, RULE_REG(1));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2}, RULE_REG(1 + slots));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_NETWORK_HEADER, f->destination, f->size},
                     RULE_REG(2 + slots));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2}, RULE_REG(2 + 2 * slots));
        rule_lookup(&r, build_map_name(b, f->flow_set, set), RULE_REG(0));
        rule_counter(&r);
        rule_verdict(&r, NFT_GOTO, "refuse");
        rule_end(&r);
}

static void add_rejects(struct build *b)
{
        struct rule tcp = rule_begin(b->txn, b->table, "refuse"), rest;

        match_protocol(&tcp, IPPROTO_TCP);
        rule_reject(&tcp, NFT_REJECT_TCP_RST, 0);
        rule_end(&tcp);

        rest = rule_begin(b->txn, b->table, "refuse");
        rule_reject(&rest, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
        rule_end(&rest);
}

/* Packets without a socket (forwarded, TIME-WAIT) have no uid: a rule that asks for it does
 * not match them, so they get the verdict that holds for everyone. */
static void match_user(struct rule *r, const char *set)
{
        rule_meta(r, NFT_META_SKUID, RULE_REG(0));
        rule_lookup(r, set, RULE_REG(0));
}

static void add_channel(struct build *b, size_t channel, const struct users *u)
{
        char chain[TABLE_NAME_MAX], set[TABLE_NAME_MAX];
        enum who who = who_of(b->rules, channel, u);
        struct rule r;

        if (who == WHO_NOBODY)
                return;
        build_chain_name(b, channel, chain);
        users_set(b, channel, who, set);
        if (who != WHO_ALL)
                add_users(b, set, who == WHO_ONLY, u);
        if (who == WHO_ALL_BUT) {
                r = rule_begin(b->txn, b->table, chain);
                match_user(&r, set);
                rule_verdict(&r, NFT_RETURN, NULL);
                rule_end(&r);
        }
        r = rule_begin(b->txn, b->table, chain);
        if (who == WHO_ONLY)
                match_user(&r, set);
        rule_counter(&r);
        rule_verdict(&r, NFT_GOTO, "refuse");
        rule_end(&r);
}

void build_policy(struct build *b)
{
        const struct ruleset *r = b->rules;

        add_mark_rule(b);
        for (size_t i = 0; i < N_FAMILIES; i++) {
                add_prefix_rule(b, "output", &families[i]);
                add_prefix_rule(b, "forward", &families[i]);
        }
        if (r->quic == QUIC_BLOCK && r->mode == POLICY_MODE_ENFORCE)
                add_quic_rule(b);
        for (size_t i = 0; b->spec->options->flows && i < N_FAMILIES; i++)
                add_flow_rule(b, &families[i]);
        add_rejects(b);
        for (size_t c = 1, at = 0; c < r->n_channels; c++) {
                struct users u = users_of(r, c, &at);

                add_channel(b, c, &u);
        }
}

void table_build_policy(struct txn *t, const struct table_spec *s)
{
        struct build b = build_begin(t, s);

        mnl_attr_put_strz(txn_add(t, NFT_MSG_DELRULE, 0), NFTA_RULE_TABLE, b.table); /* of every chain */
        build_policy(&b);
}

/* When it was made nothing else had the version, see table_free_version(). */
static bool is_set_in_force(const struct table_spec *s, const char *set)
{
        bool of_users = strncmp(set, "exempt_", 7) == 0 || strncmp(set, "blocked_", 8) == 0;
        unsigned version;

        return sscanf(set + table_set_name_size(set), "-%u", &version) == 1 &&
               version == (of_users ? s->users_version : s->maps_version);
}

static bool is_chain_in_force(const struct build *b, const char *chain)
{
        if (strncmp(chain, TABLE_CHANNEL_CHAIN, strlen(TABLE_CHANNEL_CHAIN)) != 0)
                return strcmp(chain, "output") == 0 || strcmp(chain, "forward") == 0 || strcmp(chain, "refuse") == 0;
        for (size_t c = 1; c < b->rules->n_channels; c++)
                if (strcmp(chain + strlen(TABLE_CHANNEL_CHAIN), b->rules->channels[c].id) == 0)
                        return true;
        return false;
}

bool table_build_tidy(struct txn *t, const struct table_spec *s, const struct table_names *old)
{
        struct build b = build_begin(t, s);
        struct nlmsghdr *nlh;

        for (const char *set = NULL; (set = names_next(&old->sets, set));) {
                if (is_set_in_force(s, set))
                        continue;
                nlh = txn_add(t, NFT_MSG_DELSET, 0);
                mnl_attr_put_strz(nlh, NFTA_SET_TABLE, b.table);
                mnl_attr_put_strz(nlh, NFTA_SET_NAME, set);
        }
        for (const char *chain = NULL; s->rules && (chain = names_next(&old->chains, chain));) {
                if (is_chain_in_force(&b, chain))
                        continue;
                nlh = txn_add(t, NFT_MSG_DELCHAIN, 0);
                mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, b.table);
                mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, chain);
        }
        return t->n_ops > 0;
}
