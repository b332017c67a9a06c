/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sodium.h>
#include <string.h>
#include "agent/enforce/dump.h"
#include "agent/enforce/hash.h"
#include "agent/enforce/table.h"
#include "base/text.h"

#define HASH_SIZE crypto_hash_sha256_BYTES

struct digest {
        uint8_t bytes[HASH_SIZE];
};

/* Each chain, rule and set has a digest, and in the end they are sorted: chains and sets stand in
 * the order in which they were made, which says nothing. */
struct table_digest {
        struct dump dump;
        struct buf digests; /* struct digest each */
        struct buf sets; /* of those that do not time out: a letter, the name, NUL */
        struct buf elements; /* of one hash set: struct digest each */
        char chain[NFT_NAME_MAXLEN]; /* of the rule before, and how many it has had */
        uint32_t n_rules;
        crypto_hash_sha256_state ordered; /* elements of one interval set */
};

static void table_digest_done(struct table_digest *d)
{
        buf_done(&d->digests);
        buf_done(&d->sets);
        buf_done(&d->elements);
}

#define SET_IN_ORDER    'i' /* an interval set is a tree and comes sorted */
#define SET_IN_DISORDER 'h' /* a hash set has a seed of its own */

/* Which attributes count, by object. Handles, use counts, statistics and whatever a later
 * kernel adds do not. */
#define BIT(n)      (1u << (n))
#define TABLE_ATTRS (BIT(NFTA_TABLE_NAME) | BIT(NFTA_TABLE_FLAGS))
#define CHAIN_ATTRS (BIT(NFTA_CHAIN_NAME) | BIT(NFTA_CHAIN_HOOK) | BIT(NFTA_CHAIN_POLICY) | BIT(NFTA_CHAIN_TYPE))
#define RULE_ATTRS  BIT(NFTA_RULE_CHAIN) /* its expressions apart */
#define SET_ATTRS   /* its name apart */                                                                             \
        (BIT(NFTA_SET_FLAGS) | BIT(NFTA_SET_KEY_TYPE) | BIT(NFTA_SET_KEY_LEN) | BIT(NFTA_SET_DATA_TYPE) |            \
         BIT(NFTA_SET_TIMEOUT))
#define ELEMENT_ATTRS                                                                                                \
        (BIT(NFTA_SET_ELEM_KEY) | BIT(NFTA_SET_ELEM_KEY_END) | BIT(NFTA_SET_ELEM_DATA) | BIT(NFTA_SET_ELEM_FLAGS))

static void hash_attr(crypto_hash_sha256_state *h, const struct nlattr *attr)
{
        const uint16_t head[2] = {attr->nla_len, mnl_attr_get_type(attr)};

        crypto_hash_sha256_update(h, (const uint8_t *)head, sizeof(head));
        crypto_hash_sha256_update(h, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
}

/* Without the number of its version. */
static void hash_set_name(crypto_hash_sha256_state *h, const char *name)
{
        crypto_hash_sha256_update(h, (const uint8_t *)name, table_set_name_size(name));
        crypto_hash_sha256_update(h, (const uint8_t *)"", 1);
}

static void hash_begin(crypto_hash_sha256_state *h, const struct nlmsghdr *nlh, uint32_t wanted)
{
        const struct nlattr *attr;

        crypto_hash_sha256_init(h);
        crypto_hash_sha256_update(h, (const uint8_t *)&nlh->nlmsg_type, sizeof(nlh->nlmsg_type));
        mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
        {
                uint16_t type = mnl_attr_get_type(attr);

                if (type < 32 && wanted & BIT(type))
                        hash_attr(h, attr);
        }
}

static void hash_end(crypto_hash_sha256_state *h, struct buf *to)
{
        struct digest digest;

        crypto_hash_sha256_final(h, digest.bytes);
        buf_add(to, &digest, sizeof(digest));
}

static int on_table(const struct nlmsghdr *nlh, void *userdata)
{
        crypto_hash_sha256_state h;
        struct table_digest *d = userdata;

        hash_begin(&h, nlh, TABLE_ATTRS);
        hash_end(&h, &d->digests);
        return MNL_CB_OK;
}

static int on_chain(const struct nlmsghdr *nlh, void *userdata)
{
        crypto_hash_sha256_state h;
        struct table_digest *d = userdata;

        hash_begin(&h, nlh, CHAIN_ATTRS);
        hash_end(&h, &d->digests);
        return MNL_CB_OK;
}

static void hash_lookup(crypto_hash_sha256_state *h, const struct nlattr *data)
{
        const struct nlattr *attr;

        mnl_attr_for_each_nested(attr, data)
        {
                if (mnl_attr_get_type(attr) == NFTA_LOOKUP_SET && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
                        hash_set_name(h, mnl_attr_get_str(attr));
                else
                        hash_attr(h, attr);
        }
}

/* A counter counts by its presence only. */
static void hash_expression(crypto_hash_sha256_state *h, const struct nlattr *expression)
{
        const struct nlattr *attr;
        const char *name = "";

        mnl_attr_for_each_nested(attr, expression)
        {
                if (mnl_attr_get_type(attr) == NFTA_EXPR_NAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0) {
                        name = mnl_attr_get_str(attr);
                        hash_attr(h, attr);
                } else if (strcmp(name, "lookup") == 0) {
                        hash_lookup(h, attr);
                } else if (strcmp(name, "counter") != 0) {
                        hash_attr(h, attr);
                }
        }
}

/* The rules of a chain come one after the other. */
static int on_rule(const struct nlmsghdr *nlh, void *userdata)
{
        const struct nlattr *expressions = dump_attr(nlh, NFTA_RULE_EXPRESSIONS), *attr;
        const char *chain = dump_string(nlh, NFTA_RULE_CHAIN);
        crypto_hash_sha256_state h;
        struct table_digest *d = userdata;

        if (strcmp(chain, d->chain) != 0) {
                d->n_rules = 0;
                snprintf(d->chain, sizeof(d->chain), "%s", chain);
        }
        d->n_rules++;
        hash_begin(&h, nlh, RULE_ATTRS);
        crypto_hash_sha256_update(&h, (const uint8_t *)&d->n_rules, sizeof(d->n_rules));
        if (expressions)
                mnl_attr_for_each_nested(attr, expressions) hash_expression(&h, attr);
        hash_end(&h, &d->digests);
        return MNL_CB_OK;
}

static bool is_interval_set(const struct nlmsghdr *nlh)
{
        const struct nlattr *flags = dump_attr(nlh, NFTA_SET_FLAGS);

        return flags && mnl_attr_validate(flags, MNL_TYPE_U32) >= 0 &&
               ntohl(mnl_attr_get_u32(flags)) & NFT_SET_INTERVAL;
}

static int on_set(const struct nlmsghdr *nlh, void *userdata)
{
        const char *name = dump_string(nlh, NFTA_SET_NAME);
        crypto_hash_sha256_state h;
        struct table_digest *d = userdata;

        hash_begin(&h, nlh, SET_ATTRS);
        hash_set_name(&h, name);
        hash_end(&h, &d->digests);
        if (!dump_attr(nlh, NFTA_SET_TIMEOUT)) {
                buf_addf(&d->sets, "%c%s", is_interval_set(nlh) ? SET_IN_ORDER : SET_IN_DISORDER, name);
                buf_add(&d->sets, "", 1);
        }
        return MNL_CB_OK;
}

static void hash_element(crypto_hash_sha256_state *h, const struct nlattr *element)
{
        const struct nlattr *attr;

        mnl_attr_for_each_nested(attr, element) if (mnl_attr_get_type(attr) < 32 &&
                                                    ELEMENT_ATTRS & BIT(mnl_attr_get_type(attr))) hash_attr(h, attr);
}

static int on_ordered_elements(const struct nlmsghdr *nlh, void *userdata)
{
        const struct nlattr *list = dump_attr(nlh, NFTA_SET_ELEM_LIST_ELEMENTS), *item;
        struct table_digest *d = userdata;

        if (list)
                mnl_attr_for_each_nested(item, list) hash_element(&d->ordered, item);
        return MNL_CB_OK;
}

static int on_elements(const struct nlmsghdr *nlh, void *userdata)
{
        const struct nlattr *list = dump_attr(nlh, NFTA_SET_ELEM_LIST_ELEMENTS), *item;
        struct table_digest *d = userdata;

        if (!list)
                return MNL_CB_OK;
        mnl_attr_for_each_nested(item, list)
        {
                crypto_hash_sha256_state h;

                crypto_hash_sha256_init(&h);
                hash_element(&h, item);
                hash_end(&h, &d->elements);
        }
        return MNL_CB_OK;
}

static int compare_digests(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct digest));
}

static int hash_sorted(crypto_hash_sha256_state *h, const struct buf *digests)
{
        if (buf_error(digests) < 0)
                return buf_error(digests);
        if (digests->size > 0)
                qsort(digests->data, digests->size / sizeof(struct digest), sizeof(struct digest), compare_digests);
        crypto_hash_sha256_update(h, digests->data, digests->size);
        return 0;
}

/* `set` as it stands in d->sets. */
static int hash_elements(struct table_digest *d, const char *set)
{
        bool in_order = set[0] == SET_IN_ORDER;
        struct dump_request request = {.type = NFT_MSG_GETSETELEM,
                                       .set = set + 1,
                                       .callback = in_order ? on_ordered_elements : on_elements,
                                       .userdata = d};
        int r;

        crypto_hash_sha256_init(&d->ordered);
        hash_set_name(&d->ordered, set);
        d->elements.size = 0;
        r = dump_objects(&d->dump, &request);
        if (r == 0)
                r = hash_sorted(&d->ordered, &d->elements);
        if (r == 0)
                hash_end(&d->ordered, &d->digests);
        return r;
}

static int collect(struct table_digest *d)
{
        const struct dump_request steps[] = {
                {NFT_MSG_GETTABLE, NULL, on_table, d},
                {NFT_MSG_GETCHAIN, NULL, on_chain, d},
                {NFT_MSG_GETRULE, NULL, on_rule, d},
                {NFT_MSG_GETSET, NULL, on_set, d},
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                r = dump_objects(&d->dump, &steps[i]);
                if (r < 0)
                        return r;
                if (d->digests.size == 0)
                        return -ENOENT;
        }
        r = buf_error(&d->sets);
        for (const char *set = NULL; r == 0 && (set = names_next(&d->sets, set));)
                r = hash_elements(d, set);
        return r;
}

int hash_table(struct mnl_socket *s, const char *table, char ret_hex[static 65])
{
        _cleanup_(table_digest_done) struct table_digest d = {.dump = {.socket = s, .table = table}};
        crypto_hash_sha256_state h;
        uint8_t result[HASH_SIZE];
        int r;

        r = collect(&d);
        if (r < 0)
                return r;
        crypto_hash_sha256_init(&h);
        r = hash_sorted(&h, &d.digests);
        if (r < 0)
                return r;
        crypto_hash_sha256_final(&h, result);
        hex_encode(result, sizeof(result), ret_hex);
        return 0;
}
