/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include "agent/enforce/set.h"

#define BYTEORDER_HOST 1 /* nft(8) datatype.h, kept in the set's user data for listing */
#define BYTEORDER_BIG  2

/* nft(8) payload.c: what `typeof @nh,OFFSET,SIZE` is in a set's user data, in this order */
enum payload_udata { PAYLOAD_DESC, PAYLOAD_TYPE, PAYLOAD_BASE, PAYLOAD_OFFSET, PAYLOAD_LEN };
#define EXPR_PAYLOAD       7
#define PROTO_BASE_NETWORK 2

DEFINE_CLEANUP(struct nftnl_set, nftnl_set_free)
DEFINE_CLEANUP(struct nftnl_udata_buf, nftnl_udata_buf_free)

static void put_header_type(struct nftnl_udata_buf *u, const struct set_spec *spec)
{
        struct nftnl_udata *type = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_KEY_TYPEOF), *data;

        nftnl_udata_put_u32(u, NFTNL_UDATA_SET_TYPEOF_EXPR, EXPR_PAYLOAD);
        data = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_TYPEOF_DATA);
        nftnl_udata_put_u32(u, PAYLOAD_DESC, 0);
        nftnl_udata_put_u32(u, PAYLOAD_TYPE, 0);
        nftnl_udata_put_u32(u, PAYLOAD_BASE, PROTO_BASE_NETWORK);
        nftnl_udata_put_u32(u, PAYLOAD_OFFSET, 8 * spec->header_offset);
        nftnl_udata_put_u32(u, PAYLOAD_LEN, 8 * spec->key_size);
        nftnl_udata_nest_end(u, data);
        nftnl_udata_nest_end(u, type);
}

void set_add(struct txn *t, const char *table, const struct set_spec *spec)
{
        struct nlmsghdr *nlh = txn_add(t, NFT_MSG_NEWSET, NLM_F_CREATE);
        _cleanup_(nftnl_set_freep) struct nftnl_set *s = nftnl_set_alloc();
        _cleanup_(nftnl_udata_buf_freep) struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);

        if (!s || !udata || nftnl_set_set_str(s, NFTNL_SET_TABLE, table) < 0 ||
            nftnl_set_set_str(s, NFTNL_SET_NAME, spec->name) < 0) {
                txn_fail(t, -ENOMEM);
                return;
        }
        nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
        nftnl_set_set_u32(s, NFTNL_SET_ID, spec->id);
        nftnl_set_set_u32(s, NFTNL_SET_FLAGS, spec->flags | (spec->is_verdict_map ? NFT_SET_MAP : 0));
        nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, spec->key_type);
        nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, spec->key_size);
        if (spec->is_verdict_map) {
                nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
                nftnl_set_set_u32(s, NFTNL_SET_DATA_LEN, 0);
        }
        if (spec->n_elements > 0)
                nftnl_set_set_u32(s, NFTNL_SET_DESC_SIZE, spec->n_elements);
        if (spec->timeout_ms > 0)
                nftnl_set_set_u64(s, NFTNL_SET_TIMEOUT, spec->timeout_ms);
        nftnl_udata_put_u32(udata, NFTNL_UDATA_SET_KEYBYTEORDER,
                            spec->is_host_order ? BYTEORDER_HOST : BYTEORDER_BIG);
        if (spec->key_type == SET_KEY_INTEGER)
                put_header_type(udata, spec);
        if (nftnl_set_set_data(s, NFTNL_SET_USERDATA, nftnl_udata_buf_data(udata), nftnl_udata_buf_len(udata)) < 0)
                txn_fail(t, -ENOMEM);
        nftnl_set_nlmsg_build_payload(nlh, s);
}

static void begin_message(struct elements *e)
{
        e->message = txn_add(e->txn, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
        mnl_attr_put_strz(e->message, NFTA_SET_ELEM_LIST_TABLE, e->table);
        mnl_attr_put_strz(e->message, NFTA_SET_ELEM_LIST_SET, e->set);
        e->list = mnl_attr_nest_start(e->message, NFTA_SET_ELEM_LIST_ELEMENTS);
}

/* libnftnl would keep each element as an object of its own; a list of 10,000 is written
 * directly instead. */
void elements_add(struct elements *e, const struct element *x)
{
        struct nlattr *item, *data, *verdict;

        if (!e->message)
                begin_message(e);
        item = mnl_attr_nest_start(e->message, NFTA_LIST_ELEM);
        if (x->flags != 0)
                mnl_attr_put_u32(e->message, NFTA_SET_ELEM_FLAGS, htonl(x->flags));
        data = mnl_attr_nest_start(e->message, NFTA_SET_ELEM_KEY);
        mnl_attr_put(e->message, NFTA_DATA_VALUE, x->key_size, x->key);
        mnl_attr_nest_end(e->message, data);
        if (x->chain) {
                data = mnl_attr_nest_start(e->message, NFTA_SET_ELEM_DATA);
                verdict = mnl_attr_nest_start(e->message, NFTA_DATA_VERDICT);
                mnl_attr_put_u32(e->message, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_JUMP));
                mnl_attr_put_strz(e->message, NFTA_VERDICT_CHAIN, x->chain);
                mnl_attr_nest_end(e->message, verdict);
                mnl_attr_nest_end(e->message, data);
        }
        mnl_attr_nest_end(e->message, item);
        if (++e->n == TXN_ELEMENTS_MAX)
                elements_end(e);
}

void elements_end(struct elements *e)
{
        if (e->message)
                mnl_attr_nest_end(e->message, e->list);
        e->message = NULL;
        e->n = 0;
}
