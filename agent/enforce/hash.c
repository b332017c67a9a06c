/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sodium.h>
#include <string.h>
#include "agent/enforce/hash.h"
#include "base/buf.h"
#include "base/text.h"

#define DUMP_BUFFER (32u << 10) /* af_netlink.c: the kernel fills at most 32 KiB a read */
#define HASH_SIZE   crypto_hash_sha256_BYTES

struct digest {
        uint8_t bytes[HASH_SIZE];
};

struct dump {
        struct mnl_socket *socket;
        const char *table;
        uint32_t sequence;
        crypto_hash_sha256_state hash;
        struct buf sets; /* of those that do not time out: a letter, the name, NUL */
        struct buf elements; /* of one hash set: struct digest each */
        bool found;
};

static void dump_done(struct dump *d)
{
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
#define SET_ATTRS                                                                                                    \
        (BIT(NFTA_SET_NAME) | BIT(NFTA_SET_FLAGS) | BIT(NFTA_SET_KEY_TYPE) | BIT(NFTA_SET_KEY_LEN) |                 \
         BIT(NFTA_SET_DATA_TYPE) | BIT(NFTA_SET_TIMEOUT))
#define ELEMENT_ATTRS                                                                                                \
        (BIT(NFTA_SET_ELEM_KEY) | BIT(NFTA_SET_ELEM_KEY_END) | BIT(NFTA_SET_ELEM_DATA) | BIT(NFTA_SET_ELEM_FLAGS))

static void hash_attr(crypto_hash_sha256_state *h, const struct nlattr *attr)
{
        const uint16_t head[2] = {attr->nla_len, mnl_attr_get_type(attr)};

        crypto_hash_sha256_update(h, (const uint8_t *)head, sizeof(head));
        crypto_hash_sha256_update(h, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
}

static void hash_message(struct dump *d, const struct nlmsghdr *nlh, uint32_t wanted)
{
        const struct nlattr *attr;

        crypto_hash_sha256_update(&d->hash, (const uint8_t *)&nlh->nlmsg_type, sizeof(nlh->nlmsg_type));
        mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
        {
                uint16_t type = mnl_attr_get_type(attr);

                if (type < 32 && wanted & BIT(type))
                        hash_attr(&d->hash, attr);
        }
}

static const struct nlattr *find_attr(const struct nlmsghdr *nlh, uint16_t type)
{
        const struct nlattr *attr;

        mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) == type) return attr;
        return NULL;
}

/* Attribute 1 is the table's name in every object. */
static bool is_ours(const struct dump *d, const struct nlmsghdr *nlh)
{
        const struct nlattr *attr = find_attr(nlh, NFTA_TABLE_NAME);

        return attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 &&
               strcmp(mnl_attr_get_str(attr), d->table) == 0;
}

static int on_table(const struct nlmsghdr *nlh, void *userdata)
{
        struct dump *d = userdata;

        if (is_ours(d, nlh)) {
                d->found = true;
                hash_message(d, nlh, TABLE_ATTRS);
        }
        return MNL_CB_OK;
}

static int on_chain(const struct nlmsghdr *nlh, void *userdata)
{
        struct dump *d = userdata;

        if (is_ours(d, nlh))
                hash_message(d, nlh, CHAIN_ATTRS);
        return MNL_CB_OK;
}

/* A counter counts by its presence only. */
static void hash_expression(struct dump *d, const struct nlattr *expression)
{
        const struct nlattr *attr;
        bool is_counter = false;

        mnl_attr_for_each_nested(attr, expression)
        {
                if (mnl_attr_get_type(attr) == NFTA_EXPR_NAME) {
                        is_counter = mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 &&
                                     strcmp(mnl_attr_get_str(attr), "counter") == 0;
                        hash_attr(&d->hash, attr);
                } else if (!is_counter) {
                        hash_attr(&d->hash, attr);
                }
        }
}

static int on_rule(const struct nlmsghdr *nlh, void *userdata)
{
        const struct nlattr *expressions = find_attr(nlh, NFTA_RULE_EXPRESSIONS), *attr;
        struct dump *d = userdata;

        if (!is_ours(d, nlh))
                return MNL_CB_OK;
        hash_message(d, nlh, RULE_ATTRS);
        if (expressions)
                mnl_attr_for_each_nested(attr, expressions) hash_expression(d, attr);
        return MNL_CB_OK;
}

static bool is_interval_set(const struct nlmsghdr *nlh)
{
        const struct nlattr *flags = find_attr(nlh, NFTA_SET_FLAGS);

        return flags && mnl_attr_validate(flags, MNL_TYPE_U32) >= 0 &&
               ntohl(mnl_attr_get_u32(flags)) & NFT_SET_INTERVAL;
}

static int on_set(const struct nlmsghdr *nlh, void *userdata)
{
        const struct nlattr *name = find_attr(nlh, NFTA_SET_NAME);
        struct dump *d = userdata;

        if (!is_ours(d, nlh) || !name || mnl_attr_validate(name, MNL_TYPE_NUL_STRING) < 0)
                return MNL_CB_OK;
        hash_message(d, nlh, SET_ATTRS);
        if (!find_attr(nlh, NFTA_SET_TIMEOUT)) {
                buf_addf(&d->sets, "%c%s", is_interval_set(nlh) ? SET_IN_ORDER : SET_IN_DISORDER,
                         mnl_attr_get_str(name));
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
        const struct nlattr *list = find_attr(nlh, NFTA_SET_ELEM_LIST_ELEMENTS), *item;
        struct dump *d = userdata;

        if (list)
                mnl_attr_for_each_nested(item, list) hash_element(&d->hash, item);
        return MNL_CB_OK;
}

static int on_elements(const struct nlmsghdr *nlh, void *userdata)
{
        const struct nlattr *list = find_attr(nlh, NFTA_SET_ELEM_LIST_ELEMENTS), *item;
        struct dump *d = userdata;

        if (!list)
                return MNL_CB_OK;
        mnl_attr_for_each_nested(item, list)
        {
                crypto_hash_sha256_state h;
                struct digest digest;

                crypto_hash_sha256_init(&h);
                hash_element(&h, item);
                crypto_hash_sha256_final(&h, digest.bytes);
                buf_add(&d->elements, &digest, sizeof(digest));
        }
        return MNL_CB_OK;
}

/* -EINTR: the rules changed during the dump. */
static int dump(struct dump *d, struct nlmsghdr *nlh, mnl_cb_t callback)
{
        _cleanup_free_ uint8_t *buf = malloc(DUMP_BUFFER);
        int r;

        if (!buf)
                return -ENOMEM;
        if (mnl_socket_sendto(d->socket, nlh, nlh->nlmsg_len) < 0)
                return -errno;
        do {
                ssize_t size = mnl_socket_recvfrom(d->socket, buf, DUMP_BUFFER);

                if (size < 0)
                        return -errno;
                r = mnl_cb_run(buf, (size_t)size, nlh->nlmsg_seq, mnl_socket_get_portid(d->socket), callback, d);
                if (r < 0)
                        return -errno;
        } while (r > MNL_CB_STOP);
        return 0;
}

/* Ask for all objects of a kind; `set` only for elements. */
static int dump_objects(struct dump *d, uint16_t type, const char *set, mnl_cb_t callback)
{
        char buf[1024];
        struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(buf, type, NFPROTO_INET, NLM_F_DUMP, ++d->sequence);

        /* A table dump takes no filter, and a filter is only a hint for the rest. */
        if (type != NFT_MSG_GETTABLE)
                mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, d->table);
        if (set)
                mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, set);
        return dump(d, nlh, callback);
}

static int compare_digests(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct digest));
}

/* `set` as it stands in d->sets. */
static int hash_elements(struct dump *d, const char *set)
{
        bool in_order = set[0] == SET_IN_ORDER;
        int r;

        crypto_hash_sha256_update(&d->hash, (const uint8_t *)set, strlen(set) + 1);
        d->elements.size = 0;
        r = dump_objects(d, NFT_MSG_GETSETELEM, set + 1, in_order ? on_ordered_elements : on_elements);
        if (r == 0)
                r = buf_error(&d->elements);
        if (r < 0)
                return r;
        if (d->elements.size > 0)
                qsort(d->elements.data, d->elements.size / sizeof(struct digest), sizeof(struct digest),
                      compare_digests);
        crypto_hash_sha256_update(&d->hash, d->elements.data, d->elements.size);
        return 0;
}

static int hash_once(struct dump *d)
{
        static const struct {
                uint16_t type;
                mnl_cb_t callback;
        } steps[] = {
                {NFT_MSG_GETTABLE, on_table},
                {NFT_MSG_GETCHAIN, on_chain},
                {NFT_MSG_GETRULE, on_rule},
                {NFT_MSG_GETSET, on_set},
        };
        int r;

        crypto_hash_sha256_init(&d->hash);
        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                r = dump_objects(d, steps[i].type, NULL, steps[i].callback);
                if (r < 0)
                        return r;
                if (!d->found)
                        return -ENOENT;
        }
        r = buf_error(&d->sets);
        for (const char *p = (char *)d->sets.data; r == 0 && p < (char *)d->sets.data + d->sets.size;
             p += strlen(p) + 1)
                r = hash_elements(d, p);
        return r;
}

int hash_table(struct mnl_socket *s, const char *table, char ret_hex[static 65])
{
        _cleanup_(dump_done) struct dump d = {.socket = s, .table = table};
        uint8_t result[HASH_SIZE];
        int r;

        r = hash_once(&d);
        if (r < 0)
                return r;
        crypto_hash_sha256_final(&d.hash, result);
        hex_encode(result, sizeof(result), ret_hex);
        return 0;
}
