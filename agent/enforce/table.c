/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <string.h>
#include "agent/enforce/ranges.h"
#include "agent/enforce/rule.h"
#include "agent/enforce/set.h"
#include "agent/enforce/table.h"

#define QUIC_PORT 443

/* Whom a channel's chain rejects. */
enum who {
        WHO_NOBODY, /* no chain */
        WHO_ALL,
        WHO_ALL_BUT, /* set exempt_N */
        WHO_ONLY, /* set blocked_N */
};

struct build {
        struct txn *txn;
        const struct nft_options *options;
        const struct ruleset *rules;
        uint32_t last_set_id;
        uint8_t who[CATALOGUE_CHANNELS_MAX + 1]; /* enum who by channel number */
};

struct family {
        uint8_t nfproto;
        int family;
        const char *prefix_map;
        const char *flow_set;
        uint32_t key_type;
        uint32_t size;
        uint32_t source; /* offset in the header: RFC 791 3.1, RFC 8200 3 */
        uint32_t destination;
};
static const struct family families[] = {
        {NFPROTO_IPV4, AF_INET, "prefix4", "flow4", SET_KEY_IPV4, 4, 12, 16},
        {NFPROTO_IPV6, AF_INET6, "prefix6", "flow6", SET_KEY_IPV6, 16, 8, 24},
};

DEFINE_CLEANUP(struct nftnl_chain, nftnl_chain_free)

static void find_who(struct build *b)
{
        const struct ruleset *r = b->rules;

        if (r->mode == POLICY_MODE_MONITOR)
                return;
        for (size_t c = 1; c < r->n_channels; c++)
                b->who[c] = r->channels[c].verdict == VERDICT_BLOCK ? WHO_ALL : WHO_NOBODY;
        for (size_t i = 0; i < r->n_exemptions; i++) {
                const struct rule_exemption *x = &r->exemptions[i];
                bool blocks = x->verdict == VERDICT_BLOCK, blocks_others;

                if (x->channel == 0 || x->channel >= r->n_channels)
                        continue;
                blocks_others = r->channels[x->channel].verdict == VERDICT_BLOCK;
                if (blocks != blocks_others)
                        b->who[x->channel] = blocks ? WHO_ONLY : WHO_ALL_BUT;
        }
}

static const char *channel_chain(const struct build *b, size_t channel, char buf[static TABLE_CHAIN_MAX])
{
        snprintf(buf, TABLE_CHAIN_MAX, "channel-%s", b->rules->channels[channel].id);
        return buf;
}

static const char *channel_set(const struct build *b, size_t channel, char buf[static TABLE_CHAIN_MAX])
{
        snprintf(buf, TABLE_CHAIN_MAX, "%s_%zu", b->who[channel] == WHO_ONLY ? "blocked" : "exempt", channel);
        return buf;
}

static void add_table(struct txn *t, uint16_t type, uint16_t flags, const char *table)
{
        mnl_attr_put_strz(txn_add(t, type, flags), NFTA_TABLE_NAME, table);
}

static void add_chain(struct build *b, const char *name, int hook)
{
        struct nlmsghdr *nlh = txn_add(b->txn, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
        _cleanup_(nftnl_chain_freep) struct nftnl_chain *c = nftnl_chain_alloc();

        if (!c || nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, b->options->table) < 0 ||
            nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name) < 0 ||
            (hook >= 0 && nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter") < 0)) {
                txn_fail(b->txn, -ENOMEM);
                return;
        }
        if (hook >= 0) {
                nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, (uint32_t)hook);
                nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, NF_IP_PRI_FILTER);
                nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
        }
        nftnl_chain_nlmsg_build_payload(nlh, c);
}

static void add_set(struct build *b, struct set_spec spec)
{
        spec.id = ++b->last_set_id;
        set_add(b->txn, b->options->table, &spec);
}

static void add_sets(struct build *b)
{
        char name[TABLE_CHAIN_MAX];

        add_set(b, (struct set_spec){.name = "channels",
                                     .key_type = SET_KEY_MARK,
                                     .key_size = 4,
                                     .is_host_order = true,
                                     .is_verdict_map = true});
        for (size_t i = 0; i < ELEMENTSOF(families); i++) {
                const struct family *f = &families[i];
                uint32_t flow = SET_KEY_PROTOCOL;

                add_set(b, (struct set_spec){.name = f->prefix_map,
                                             .key_type = f->key_type,
                                             .key_size = f->size,
                                             .flags = NFT_SET_INTERVAL,
                                             .is_verdict_map = true});
                flow = ((flow << 6 | f->key_type) << 6 | SET_KEY_PORT) << 6;
                flow = (flow | f->key_type) << 6 | SET_KEY_PORT;
                add_set(b, (struct set_spec){.name = f->flow_set,
                                             .key_type = flow,
                                             .key_size = 12 + 2 * f->size,
                                             .flags = NFT_SET_TIMEOUT,
                                             .timeout_ms = TABLE_FLOW_TIMEOUT_MS});
        }
        for (size_t c = 1; c < b->rules->n_channels; c++)
                if (b->who[c] == WHO_ALL_BUT || b->who[c] == WHO_ONLY)
                        add_set(b, (struct set_spec){.name = channel_set(b, c, name),
                                                     .key_type = SET_KEY_UID,
                                                     .key_size = 4,
                                                     .is_host_order = true});
}

static void fill_channels(struct build *b)
{
        struct elements e = {.txn = b->txn, .table = b->options->table, .set = "channels"};
        unsigned shift = (unsigned)__builtin_ctz(b->options->mark_mask);
        char chain[TABLE_CHAIN_MAX];

        for (size_t c = 1; c < b->rules->n_channels; c++) {
                uint32_t mark = (uint32_t)c << shift;

                if (b->who[c] != WHO_NOBODY)
                        elements_add(&e, &(struct element){.key = &mark,
                                                           .key_size = sizeof(mark),
                                                           .chain = channel_chain(b, c, chain)});
        }
        elements_end(&e);
}

static void fill_users(struct build *b)
{
        const struct ruleset *r = b->rules;
        char set[TABLE_CHAIN_MAX];

        for (size_t i = 0; i < r->n_exemptions;) {
                uint16_t channel = r->exemptions[i].channel;
                struct elements e = {.txn = b->txn, .table = b->options->table};
                bool wanted = channel > 0 && channel < r->n_channels &&
                              (b->who[channel] == WHO_ALL_BUT || b->who[channel] == WHO_ONLY);

                if (wanted)
                        e.set = channel_set(b, channel, set);
                for (; i < r->n_exemptions && r->exemptions[i].channel == channel; i++) {
                        uint32_t uid = r->exemptions[i].uid;

                        if (wanted && (r->exemptions[i].verdict == VERDICT_BLOCK) == (b->who[channel] == WHO_ONLY))
                                elements_add(&e, &(struct element){.key = &uid, .key_size = sizeof(uid)});
                }
                elements_end(&e);
        }
}

/* The first address behind a range. False: the range ends with the highest address. */
static bool address_after(const uint8_t last[static 16], size_t size, uint8_t ret[static 16])
{
        memcpy(ret, last, 16);
        for (size_t i = size; i-- > 0;)
                if (++ret[i] != 0)
                        return true;
        return false;
}

static void fill_range(struct build *b, struct elements *e, const struct family *f, const struct range *range)
{
        uint8_t end[16];
        char chain[TABLE_CHAIN_MAX];

        elements_add(e, &(struct element){.key = range->first,
                                          .key_size = (uint16_t)f->size,
                                          .chain = channel_chain(b, range->target, chain)});
        if (address_after(range->last, f->size, end))
                elements_add(e, &(struct element){.key = end,
                                                  .key_size = (uint16_t)f->size,
                                                  .flags = NFT_SET_ELEM_INTERVAL_END});
}

static void fill_prefixes(struct build *b, const struct family *f)
{
        const struct ruleset *r = b->rules;
        _cleanup_free_ struct range_prefix *prefixes = calloc(r->n_entries + 1, sizeof(*prefixes));
        _cleanup_free_ struct range *ranges = NULL;
        struct elements e = {.txn = b->txn, .table = b->options->table, .set = f->prefix_map};
        size_t n = 0, n_ranges = 0;
        int error;

        if (!prefixes) {
                txn_fail(b->txn, -ENOMEM);
                return;
        }
        for (size_t i = 1; i < r->n_entries; i++) {
                const struct rule_entry *x = &r->entries[i];

                if (x->kind == ENTRY_PREFIX && x->prefix.family == f->family && x->channel > 0 &&
                    x->channel < r->n_channels)
                        prefixes[n++] =
                                (struct range_prefix){&x->prefix, b->who[x->channel] == WHO_NOBODY ? 0 : x->channel};
        }
        error = ranges_flatten(prefixes, n, f->family, &ranges, &n_ranges);
        if (error < 0)
                txn_fail(b->txn, error);
        for (size_t i = 0; i < n_ranges; i++)
                fill_range(b, &e, f, &ranges[i]);
        elements_end(&e);
}

static void match_family(struct rule *r, const struct family *f)
{
        rule_meta(r, NFT_META_NFPROTO, RULE_REG(0));
        rule_equal(r, RULE_REG(0), &f->nfproto, 1);
}

static void match_protocol(struct rule *r, uint8_t protocol)
{
        rule_meta(r, NFT_META_L4PROTO, RULE_REG(0));
        rule_equal(r, RULE_REG(0), &protocol, 1);
}

static void add_flow_rule(struct build *b, const struct family *f)
{
        struct rule r = rule_begin(b->txn, b->options->table, "output");
        uint32_t slots = f->size / 4;

        match_family(&r, f);
        rule_meta(&r, NFT_META_L4PROTO, RULE_REG(0));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_NETWORK_HEADER, f->source, f->size}, RULE_REG(1));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2}, RULE_REG(1 + slots));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_NETWORK_HEADER, f->destination, f->size},
                     RULE_REG(2 + slots));
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2}, RULE_REG(2 + 2 * slots));
        rule_lookup(&r, f->flow_set, RULE_REG(0));
        rule_verdict(&r, NFT_GOTO, "flows");
        rule_end(&r);
}

static void add_mark_rule(struct build *b)
{
        struct rule r = rule_begin(b->txn, b->options->table, "output");

        rule_meta(&r, NFT_META_MARK, RULE_REG(0));
        rule_mask(&r, RULE_REG(0), b->options->mark_mask);
        rule_verdict_map(&r, "channels", RULE_REG(0));
        rule_end(&r);
}

static void add_prefix_rule(struct build *b, const char *chain, const struct family *f)
{
        struct rule r = rule_begin(b->txn, b->options->table, chain);

        match_family(&r, f);
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_NETWORK_HEADER, f->destination, f->size}, RULE_REG(0));
        rule_verdict_map(&r, f->prefix_map, RULE_REG(0));
        rule_end(&r);
}

static void add_quic_rule(struct build *b)
{
        struct rule r = rule_begin(b->txn, b->options->table, "output");
        const uint16_t port_be = htons(QUIC_PORT);

        match_protocol(&r, IPPROTO_UDP);
        rule_payload(&r, (struct rule_field){NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2}, RULE_REG(0));
        rule_equal(&r, RULE_REG(0), &port_be, sizeof(port_be));
        rule_counter(&r);
        rule_reject(&r, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
        rule_end(&r);
}

/* Packets without a socket (forwarded, TIME-WAIT) have no uid: a rule that asks for it does
 * not match them, so they get the verdict that holds for everyone. */
static void match_user(struct rule *r, const char *set)
{
        rule_meta(r, NFT_META_SKUID, RULE_REG(0));
        rule_lookup(r, set, RULE_REG(0));
}

/* Count and reject; `only` names a set of uids or is NULL. */
static void add_rejects(struct build *b, const char *chain, const char *only)
{
        struct rule tcp = rule_begin(b->txn, b->options->table, chain), rest;

        if (only)
                match_user(&tcp, only);
        rule_counter(&tcp);
        match_protocol(&tcp, IPPROTO_TCP);
        rule_reject(&tcp, NFT_REJECT_TCP_RST, 0);
        rule_end(&tcp);

        rest = rule_begin(b->txn, b->options->table, chain);
        if (only)
                match_user(&rest, only);
        rule_reject(&rest, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
        rule_end(&rest);
}

static void add_channel_rules(struct build *b, size_t channel)
{
        char chain[TABLE_CHAIN_MAX], set[TABLE_CHAIN_MAX];

        if (b->who[channel] == WHO_NOBODY)
                return;
        channel_chain(b, channel, chain);
        channel_set(b, channel, set);
        if (b->who[channel] == WHO_ALL_BUT) {
                struct rule r = rule_begin(b->txn, b->options->table, chain);

                match_user(&r, set);
                rule_verdict(&r, NFT_RETURN, NULL);
                rule_end(&r);
        }
        add_rejects(b, chain, b->who[channel] == WHO_ONLY ? set : NULL);
}

static void add_rules(struct build *b)
{
        const struct ruleset *r = b->rules;

        for (size_t i = 0; i < ELEMENTSOF(families); i++)
                add_flow_rule(b, &families[i]);
        add_mark_rule(b);
        for (size_t i = 0; i < ELEMENTSOF(families); i++) {
                add_prefix_rule(b, "output", &families[i]);
                add_prefix_rule(b, "forward", &families[i]);
        }
        if (r->quic == QUIC_BLOCK && r->mode == POLICY_MODE_ENFORCE)
                add_quic_rule(b);
        add_rejects(b, "flows", NULL);
        for (size_t c = 1; c < r->n_channels; c++)
                add_channel_rules(b, c);
}

static int check_size(const struct nft_options *o, const struct ruleset *r, struct diag *reterr)
{
        if (o->mark_mask == 0 || (o->mark_mask >> __builtin_ctz(o->mark_mask)) + 1 < r->n_channels ||
            r->n_channels > CATALOGUE_CHANNELS_MAX + 1)
                return diag_set(reterr, -E2BIG, NULL, 0, "%zu channels do not fit the mark mask 0x%08x",
                                r->n_channels, o->mark_mask);
        return 0;
}

int table_build(struct txn *t, const struct nft_options *o, const struct ruleset *r, struct diag *reterr)
{
        struct build b = {.txn = t, .options = o, .rules = r};
        char chain[TABLE_CHAIN_MAX];
        int error;

        error = check_size(o, r, reterr);
        if (error < 0)
                return error;
        find_who(&b);
        table_build_removal(t, o->table);
        add_table(t, NFT_MSG_NEWTABLE, NLM_F_CREATE, o->table);
        add_chain(&b, "output", NF_INET_LOCAL_OUT);
        add_chain(&b, "forward", NF_INET_FORWARD);
        add_chain(&b, "flows", -1);
        for (size_t c = 1; c < r->n_channels; c++)
                if (b.who[c] != WHO_NOBODY)
                        add_chain(&b, channel_chain(&b, c, chain), -1);
        add_sets(&b);
        fill_channels(&b);
        fill_users(&b);
        for (size_t i = 0; i < ELEMENTSOF(families); i++)
                fill_prefixes(&b, &families[i]);
        add_rules(&b);
        return 0;
}

void table_build_removal(struct txn *t, const char *table)
{
        add_table(t, NFT_MSG_NEWTABLE, NLM_F_CREATE, table); /* so that deleting cannot fail */
        add_table(t, NFT_MSG_DELTABLE, 0, table);
}

int table_build_flow(struct txn *t, const char *table, const struct fact_flow *f)
{
        uint8_t key[TABLE_FLOW_KEY_MAX] = {f->protocol};

        for (size_t i = 0; i < ELEMENTSOF(families); i++) {
                const struct family *x = &families[i];
                struct elements e = {.txn = t, .table = table, .set = x->flow_set};
                const uint16_t local_be = htons(f->local_port), remote_be = htons(f->remote_port);

                if (x->family != f->family)
                        continue;
                memcpy(key + 4, f->local, x->size);
                memcpy(key + 4 + x->size, &local_be, 2);
                memcpy(key + 8 + x->size, f->remote, x->size);
                memcpy(key + 8 + 2 * x->size, &remote_be, 2);
                elements_add(&e, &(struct element){.key = key, .key_size = (uint16_t)(12 + 2 * x->size)});
                elements_end(&e);
                return 0;
        }
        return -EINVAL;
}
