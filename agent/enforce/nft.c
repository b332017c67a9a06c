/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include "agent/enforce/hash.h"
#include "agent/enforce/internal.h"

#define ANSWER_MAX 8192
#define DUMP_TRIES 8

DEFINE_CLEANUP(struct nft, nft_free)

static void close_socket(struct mnl_socket **s)
{
        if (*s)
                mnl_socket_close(*s);
        *s = NULL;
}

struct nft *nft_free(struct nft *n)
{
        if (!n)
                return NULL;
        close_socket(&n->socket);
        close_socket(&n->monitor);
        close_socket(&n->reader);
        free(n->table);
        free(n);
        return NULL;
}

int nft_open_socket(struct mnl_socket **ret)
{
        _cleanup_(mnl_socket_closep) struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
        int one = 1;

        if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
                return -errno;
        /* Linux 4.3 and 4.12; an older kernel answers at more length and with less detail */
        (void)mnl_socket_setsockopt(s, NETLINK_CAP_ACK, &one, sizeof(one));
        (void)mnl_socket_setsockopt(s, NETLINK_EXT_ACK, &one, sizeof(one));
        *ret = TAKE_PTR(s);
        return 0;
}

int nft_new(const struct nft_options *o, struct nft **ret)
{
        _cleanup_(nft_freep) struct nft *n = calloc(1, sizeof(*n));
        int r;

        if (!n)
                return -ENOMEM;
        n->options = *o;
        n->table = strdup(o->table);
        if (!n->table)
                return -ENOMEM;
        n->options.table = n->table;
        n->sequence = 1;
        r = nft_open_socket(&n->socket);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(n);
        return 0;
}

int nft_start(struct nft *n, struct txn *t)
{
        return txn_begin(t, n->sequence);
}

int nft_commit(struct nft *n, struct txn *t, struct diag *reterr)
{
        n->sequence += t->n_ops + 2; /* batch begin and end have numbers as well */
        return txn_commit(t, n->socket, reterr);
}

static int on_generation(const struct nlmsghdr *nlh, void *userdata)
{
        const struct nlattr *attr;

        mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) == NFTA_GEN_ID &&
                                                                  mnl_attr_validate(attr, MNL_TYPE_U32) >= 0) *
                (uint32_t *)userdata = ntohl(mnl_attr_get_u32(attr));
        return MNL_CB_OK;
}

/* How often this namespace's nftables were changed: the least that needs both nf_tables and
 * CAP_NET_ADMIN. */
static int ask_generation(struct mnl_socket *s, uint32_t sequence, uint32_t *ret)
{
        char buf[ANSWER_MAX];
        struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETGEN, AF_UNSPEC, 0, sequence);
        ssize_t size;

        if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0)
                return -errno;
        size = mnl_socket_recvfrom(s, buf, sizeof(buf));
        if (size < 0)
                return -errno;
        return mnl_cb_run(buf, (size_t)size, sequence, mnl_socket_get_portid(s), on_generation, ret) < 0 ? -errno : 0;
}

int nft_generation(struct nft *n, uint32_t *ret)
{
        return ask_generation(n->socket, n->sequence++, ret);
}

static int open_reader(struct nft *n)
{
        return n->reader ? 0 : nft_open_socket(&n->reader);
}

/* -ENOENT there is no table. */
int nft_read_names(struct nft *n, struct table_names *ret)
{
        struct dump d = {.table = n->table};
        int r = -EINTR;

        for (unsigned i = 0; i < DUMP_TRIES && r == -EINTR; i++) {
                table_names_done(ret);
                r = open_reader(n);
                d.socket = n->reader;
                if (r == 0)
                        r = dump_names(&d, ret);
                if (r < 0)
                        close_socket(&n->reader);
        }
        return r;
}

int nft_remove(struct nft *n)
{
        _cleanup_txn_ struct txn t = {};
        int r;

        r = nft_start(n, &t);
        if (r < 0)
                return r;
        table_build_removal(&t, n->table);
        n->is_in_force = false;
        return nft_commit(n, &t, NULL);
}

int nft_add_flow(struct nft *n, const struct fact_flow *f)
{
        const struct table_spec s = nft_spec_in_force(n);
        _cleanup_txn_ struct txn t = {};
        int r;

        if (!n->options.flows)
                return -EOPNOTSUPP;
        r = nft_start(n, &t);
        if (r < 0)
                return r;
        r = table_build_flow(&t, &s, f);
        if (r < 0)
                return r;
        return nft_commit(n, &t, NULL);
}

int nft_encode(const struct nft_options *o, const struct ruleset *r, uint8_t **ret, size_t *ret_size,
               struct diag *reterr)
{
        const struct table_spec s = {.options = o, .rules = r, .maps_version = 1, .users_version = 1};
        _cleanup_txn_ struct txn t = {};
        int error;

        error = table_check(&s, reterr);
        if (error == 0)
                error = txn_begin(&t, 1);
        if (error < 0)
                return error;
        table_build(&t, &s);
        error = txn_end(&t);
        if (error < 0)
                return diag_set(reterr, error, NULL, 0, "cannot build the transaction: %s", strerror(-error));
        *ret = TAKE_PTR(t.data);
        *ret_size = t.size;
        return 0;
}

int nft_hash(struct nft *n, char ret_hex[static 65])
{
        int r = -EINTR;

        for (unsigned i = 0; i < DUMP_TRIES && r == -EINTR; i++) {
                r = open_reader(n);
                if (r == 0)
                        r = hash_table(n->reader, n->table, ret_hex);
                if (r < 0)
                        close_socket(&n->reader);
        }
        return r;
}

int nft_check(char *ret_reason, size_t size)
{
        _cleanup_(mnl_socket_closep) struct mnl_socket *s = NULL;
        uint32_t generation;
        int r;

        r = nft_open_socket(&s);
        if (r == 0)
                r = ask_generation(s, 1, &generation);
        if (r == -EPERM) {
                snprintf(ret_reason, size,
                         "no permission to change nftables: CAP_NET_ADMIN is needed, start as root");
                return -EPERM;
        }
        if (r < 0) {
                snprintf(ret_reason, size,
                         "this kernel has no nf_tables (%s): it needs CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, "
                         "or its module nf_tables cannot be loaded",
                         strerror(-r));
                return -EOPNOTSUPP;
        }
        return 0;
}
