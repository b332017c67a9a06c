/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include "agent/enforce/build.h"
#include "agent/enforce/ranges.h"

#define TOP4_BITS 16 /* of an IPv4 address, at most */
#define TOPS4_MAX 2048 /* the kernel looks through all of them for each that is added */
#define TOPS6_MAX 65536

_Static_assert(TABLE_HASH_SIZE == crypto_hash_sha256_BYTES, "the hash is SHA-256");

const struct family families[N_FAMILIES] = {
        {NFPROTO_IPV4, AF_INET, "prefix4", "top4", {TOP4_BITS, 8}, TOPS4_MAX, "flow4", SET_KEY_IPV4, 4, 12, 16},
        {NFPROTO_IPV6, AF_INET6, "prefix6", "top6", {32, 16}, TOPS6_MAX, "flow6", SET_KEY_IPV6, 16, 8, 24},
};

DEFINE_CLEANUP(struct nftnl_chain, nftnl_chain_free)

struct build build_begin(struct txn *t, const struct table_spec *spec)
{
        return (struct build){.txn = t, .spec = spec, .rules = spec->rules, .table = spec->options->table};
}

const char *build_chain_name(const struct build *b, size_t channel, char buf[static TABLE_NAME_MAX])
{
        snprintf(buf, TABLE_NAME_MAX, TABLE_CHANNEL_CHAIN "%s", b->rules->channels[channel].id);
        return buf;
}

const char *build_map_name(const struct build *b, const char *name, char buf[static TABLE_NAME_MAX])
{
        snprintf(buf, TABLE_NAME_MAX, "%s-%u", name, b->spec->maps_version);
        return buf;
}

size_t table_set_name_size(const char *name)
{
        const char *dash = strchr(name, '-');

        return dash ? (size_t)(dash - name) : strlen(name);
}

int table_free_version(const struct table_names *names, unsigned *ret)
{
        uint64_t used = 1; /* they count from 1 */
        unsigned version;

        for (const char *name = NULL; (name = names_next(&names->sets, name));)
                if (sscanf(name + table_set_name_size(name), "-%u", &version) == 1 && version < 64)
                        used |= 1ull << version;
        if (used == UINT64_MAX)
                return -EMLINK;
        *ret = (unsigned)__builtin_ctzll(~used);
        return 0;
}

static void add_table(struct txn *t, const char *table)
{
        struct nlmsghdr *nlh = txn_add(t, NFT_MSG_NEWTABLE, NLM_F_CREATE);

        mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, table);
        mnl_attr_put_u32(nlh, NFTA_TABLE_FLAGS, 0); /* somebody may have put it to sleep */
}

static void add_chain(struct build *b, const char *name, int hook)
{
        struct nlmsghdr *nlh = txn_add(b->txn, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
        _cleanup_(nftnl_chain_freep) struct nftnl_chain *c = nftnl_chain_alloc();

        if (!c || nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, b->table) < 0 ||
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

void build_set(struct build *b, struct set_spec spec)
{
        spec.id = ++b->last_set_id;
        set_add(b->txn, b->table, &spec);
}

static void add_map(struct build *b, struct set_spec spec)
{
        char name[TABLE_NAME_MAX];

        spec.name = build_map_name(b, spec.name, name);
        build_set(b, spec);
}

static void add_flow_set(struct build *b, const struct family *f)
{
        uint32_t type = ((SET_KEY_PROTOCOL << 6 | f->key_type) << 6 | SET_KEY_PORT) << 6;

        add_map(b, (struct set_spec){.name = f->flow_set,
                                     .key_type = (type | f->key_type) << 6 | SET_KEY_PORT,
                                     .key_size = 12 + 2 * f->size,
                                     .flags = NFT_SET_TIMEOUT,
                                     .timeout_ms = TABLE_FLOW_TIMEOUT_MS});
}

static void add_maps(struct build *b)
{
        add_map(b, (struct set_spec){.name = "channels",
                                     .key_type = SET_KEY_MARK,
                                     .key_size = 4,
                                     .is_host_order = true,
                                     .is_verdict_map = true,
                                     .n_elements = (uint32_t)b->rules->n_channels - 1});
        for (size_t i = 0; i < N_FAMILIES; i++)
                add_map(b, (struct set_spec){.name = families[i].prefix_map,
                                             .key_type = families[i].key_type,
                                             .key_size = families[i].size,
                                             .flags = NFT_SET_INTERVAL,
                                             .is_verdict_map = true});
        for (size_t i = 0; b->spec->options->flows && i < N_FAMILIES; i++)
                add_flow_set(b, &families[i]);
}

static void fill_channels(struct build *b)
{
        char map[TABLE_NAME_MAX], chain[TABLE_NAME_MAX];
        struct elements e = {.txn = b->txn, .table = b->table, .set = build_map_name(b, "channels", map)};
        unsigned shift = (unsigned)__builtin_ctz(b->spec->options->mark_mask);

        for (size_t c = 1; c < b->rules->n_channels; c++) {
                uint32_t mark = (uint32_t)c << shift;

                elements_add(&e, &(struct element){.key = &mark,
                                                   .key_size = sizeof(mark),
                                                   .chain = build_chain_name(b, c, chain)});
        }
        elements_end(&e);
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
        char chain[TABLE_NAME_MAX];
        uint8_t end[16];

        elements_add(e, &(struct element){.key = range->first,
                                          .key_size = (uint16_t)f->size,
                                          .chain = build_chain_name(b, range->target, chain)});
        if (address_after(range->last, f->size, end))
                elements_add(e, &(struct element){.key = end,
                                                  .key_size = (uint16_t)f->size,
                                                  .flags = NFT_SET_ELEM_INTERVAL_END});
}

static bool is_prefix(const struct ruleset *r, const struct rule_entry *e)
{
        return e->kind == ENTRY_PREFIX && e->channel > 0 && e->channel < r->n_channels;
}

/* Distinct ones for IPv4, at most for IPv6. */
static size_t count_tops(const struct ruleset *r, const struct family *f)
{
        uint8_t seen[1 << (TOP4_BITS - 3)] = {};
        size_t n = 0;

        for (size_t i = 1; i < r->n_entries; i++) {
                const struct prefix *p = &r->entries[i].prefix;
                size_t tops = p->length < f->top_bits[0] ? (size_t)1 << (f->top_bits[0] - p->length) : 1;

                if (!is_prefix(r, &r->entries[i]) || p->family != f->family)
                        continue;
                if (f->family == AF_INET6)
                        n += tops;
                for (size_t top = (size_t)p->address[0] << 8 | p->address[1]; f->family == AF_INET && tops > 0;
                     tops--, top++) {
                        n += !(seen[top / 8 % sizeof(seen)] >> top % 8 & 1);
                        seen[top / 8 % sizeof(seen)] |= (uint8_t)(1 << top % 8);
                }
        }
        return n;
}

unsigned build_top_bits(const struct build *b, const struct family *f)
{
        return f->top_bits[count_tops(b->rules, f) > f->tops_max];
}

static uint32_t top_of(const uint8_t address[static 16], unsigned bits)
{
        uint32_t head_be;

        memcpy(&head_be, address, sizeof(head_be));
        return ntohl(head_be) >> (32 - bits);
}

struct ranges {
        struct range *list;
        size_t n;
};

/* Every top once: the ranges are sorted. Returns how many there are; adds them to `e` unless NULL. */
static uint32_t for_each_top(const struct ranges *r, const struct family *f, unsigned bits, struct elements *e)
{
        uint64_t next = 0; /* tops below are done */
        uint32_t n = 0;

        for (size_t i = 0; i < r->n; i++) {
                uint64_t first = top_of(r->list[i].first, bits), last = top_of(r->list[i].last, bits);

                for (uint64_t top = first < next ? next : first; top <= last; top++, n++) {
                        const uint32_t head_be = htonl((uint32_t)top << (32 - bits));
                        uint8_t key[16] = {};

                        memcpy(key, &head_be, sizeof(head_be));
                        if (e)
                                elements_add(e, &(struct element){.key = key, .key_size = (uint16_t)(bits / 8)});
                }
                next = last + 1;
        }
        return n;
}

static void add_tops(struct build *b, const struct family *f, const struct ranges *r)
{
        unsigned bits = build_top_bits(b, f);
        uint32_t n = for_each_top(r, f, bits, NULL);
        char set[TABLE_NAME_MAX];
        struct elements e = {.txn = b->txn, .table = b->table, .set = build_map_name(b, f->top_set, set)};

        add_map(b, (struct set_spec){.name = f->top_set,
                                     .key_type = SET_KEY_INTEGER,
                                     .key_size = bits / 8,
                                     .header_offset = f->destination,
                                     .n_elements = n > 0 ? n : 1});
        for_each_top(r, f, bits, &e);
        elements_end(&e);
}

static void fill_prefixes(struct build *b, const struct family *f)
{
        const struct ruleset *r = b->rules;
        _cleanup_free_ struct range_prefix *prefixes = calloc(r->n_entries + 1, sizeof(*prefixes));
        _cleanup_free_ struct range *list = NULL;
        char map[TABLE_NAME_MAX];
        struct elements e = {.txn = b->txn, .table = b->table, .set = build_map_name(b, f->prefix_map, map)};
        struct ranges ranges = {};
        size_t n = 0;
        int error;

        if (!prefixes) {
                txn_fail(b->txn, -ENOMEM);
                return;
        }
        for (size_t i = 1; i < r->n_entries; i++)
                if (is_prefix(r, &r->entries[i]) && r->entries[i].prefix.family == f->family)
                        prefixes[n++] = (struct range_prefix){&r->entries[i].prefix, r->entries[i].channel};
        error = ranges_flatten(prefixes, n, f->family, &list, &ranges.n);
        if (error < 0)
                txn_fail(b->txn, error);
        ranges.list = list;
        for (size_t i = 0; i < ranges.n; i++)
                fill_range(b, &e, f, &ranges.list[i]);
        elements_end(&e);
        add_tops(b, f, &ranges);
}

int table_check(const struct table_spec *s, struct diag *reterr)
{
        uint32_t mask = s->options->mark_mask;
        size_t n = s->rules->n_channels;

        if (mask == 0 || (mask >> __builtin_ctz(mask)) + 1 < n || n > CATALOGUE_CHANNELS_MAX + 1)
                return diag_set(reterr, -E2BIG, NULL, 0, "%zu channels do not fit the mark mask 0x%08x", n, mask);
        return 0;
}

static void build_catalogue(struct build *b)
{
        char chain[TABLE_NAME_MAX];

        add_table(b->txn, b->table);
        add_chain(b, "output", NF_INET_LOCAL_OUT);
        add_chain(b, "forward", NF_INET_FORWARD);
        add_chain(b, "refuse", -1);
        for (size_t c = 1; c < b->rules->n_channels; c++)
                add_chain(b, build_chain_name(b, c, chain), -1);
        add_maps(b);
        fill_channels(b);
        for (size_t i = 0; i < N_FAMILIES; i++)
                fill_prefixes(b, &families[i]);
}

void table_build_catalogue(struct txn *t, const struct table_spec *s)
{
        struct build b = build_begin(t, s);

        build_catalogue(&b);
}

void table_build(struct txn *t, const struct table_spec *s)
{
        struct build b = build_begin(t, s);

        table_build_removal(t, s->options->table);
        build_catalogue(&b);
        build_policy(&b);
}

void table_hash(const struct table_spec *s, uint8_t ret[static TABLE_HASH_SIZE])
{
        const struct ruleset *r = s->rules;
        crypto_hash_sha256_state h;

        crypto_hash_sha256_init(&h);
        for (size_t c = 1; c < r->n_channels; c++)
                crypto_hash_sha256_update(&h, (const uint8_t *)r->channels[c].id, strlen(r->channels[c].id) + 1);
        for (size_t i = 1; i < r->n_entries; i++) {
                const struct rule_entry *e = &r->entries[i];
                uint8_t bytes[20] = {(uint8_t)e->channel, (uint8_t)(e->channel >> 8), (uint8_t)e->prefix.family,
                                     e->prefix.length};

                if (!is_prefix(r, e))
                        continue;
                memcpy(bytes + 4, e->prefix.address, sizeof(e->prefix.address));
                crypto_hash_sha256_update(&h, bytes, sizeof(bytes));
        }
        crypto_hash_sha256_final(&h, ret);
}

void table_build_removal(struct txn *t, const char *table)
{
        add_table(t, table); /* so that deleting cannot fail */
        mnl_attr_put_strz(txn_add(t, NFT_MSG_DELTABLE, 0), NFTA_TABLE_NAME, table);
}

int table_build_flow(struct txn *t, const struct table_spec *s, const struct fact_flow *f)
{
        struct build b = build_begin(t, s);
        uint8_t key[TABLE_FLOW_KEY_MAX] = {f->protocol};
        char set[TABLE_NAME_MAX];

        for (size_t i = 0; i < N_FAMILIES; i++) {
                const struct family *x = &families[i];
                struct elements e = {.txn = t, .table = b.table, .set = build_map_name(&b, x->flow_set, set)};
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
