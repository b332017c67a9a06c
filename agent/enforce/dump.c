/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include "agent/enforce/dump.h"
#include "base/cleanup.h"

#define DUMP_BUFFER (32u << 10) /* af_netlink.c: the kernel fills at most 32 KiB a read */

const struct nlattr *dump_attr(const struct nlmsghdr *nlh, uint16_t type)
{
        const struct nlattr *attr;

        mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) == type) return attr;
        return NULL;
}

const char *dump_string(const struct nlmsghdr *nlh, uint16_t type)
{
        const struct nlattr *attr = dump_attr(nlh, type);

        return attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0 ? mnl_attr_get_str(attr) : "";
}

struct filter {
        const char *table;
        const struct dump_request *request;
};

/* Attribute 1 is the table's name in every object. */
static int filter(const struct nlmsghdr *nlh, void *userdata)
{
        const struct filter *f = userdata;

        if (strcmp(dump_string(nlh, NFTA_TABLE_NAME), f->table) != 0)
                return MNL_CB_OK;
        return f->request->callback(nlh, f->request->userdata);
}

int dump_objects(struct dump *d, const struct dump_request *request)
{
        struct filter f = {.table = d->table, .request = request};
        _cleanup_free_ uint8_t *buf = malloc(DUMP_BUFFER);
        char query[1024];
        struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(query, request->type, NFPROTO_INET, NLM_F_DUMP, ++d->sequence);
        int r;

        if (!buf)
                return -ENOMEM;
        /* A table dump takes no filter, and a filter is only a hint for the rest. */
        if (request->type != NFT_MSG_GETTABLE)
                mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, d->table);
        if (request->set)
                mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, request->set);
        if (mnl_socket_sendto(d->socket, nlh, nlh->nlmsg_len) < 0)
                return -errno;
        do {
                ssize_t size = mnl_socket_recvfrom(d->socket, buf, DUMP_BUFFER);

                if (size < 0)
                        return -errno;
                r = mnl_cb_run(buf, (size_t)size, d->sequence, mnl_socket_get_portid(d->socket), filter, &f);
                if (r < 0)
                        return -errno;
        } while (r > MNL_CB_STOP);
        return 0;
}

void table_names_done(struct table_names *n)
{
        buf_done(&n->chains);
        buf_done(&n->sets);
}

static int on_chain(const struct nlmsghdr *nlh, void *userdata)
{
        struct table_names *n = userdata;
        const char *name = dump_string(nlh, NFTA_CHAIN_NAME);

        buf_add(&n->chains, name, strlen(name) + 1);
        return MNL_CB_OK;
}

static int on_set(const struct nlmsghdr *nlh, void *userdata)
{
        struct table_names *n = userdata;
        const char *name = dump_string(nlh, NFTA_SET_NAME);

        buf_add(&n->sets, name, strlen(name) + 1);
        return MNL_CB_OK;
}

int dump_names(struct dump *d, struct table_names *ret)
{
        int r = dump_objects(d, &(struct dump_request){NFT_MSG_GETCHAIN, NULL, on_chain, ret});

        if (r == 0)
                r = dump_objects(d, &(struct dump_request){NFT_MSG_GETSET, NULL, on_set, ret});
        if (r == 0)
                r = buf_error(&ret->chains);
        if (r == 0)
                r = buf_error(&ret->sets);
        return r < 0 ? r : ret->chains.size > 0 ? 0 : -ENOENT;
}

const char *names_next(const struct buf *names, const char *name)
{
        const char *end = (const char *)names->data + names->size;

        name = name ? name + strlen(name) + 1 : (const char *)names->data;
        return name && name < end ? name : NULL;
}
