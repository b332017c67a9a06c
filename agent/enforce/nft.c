/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "agent/enforce/hash.h"
#include "agent/enforce/table.h"

#define MONITOR_BUFFER   (4u << 20) /* other programs' changes; our own are filtered out */
#define NOTIFICATION_MAX (64u << 10)
#define ANSWER_MAX       8192
#define HASH_TRIES       8

struct nft {
        struct nft_options options; /* its table is the copy below */
        char *table;
        struct mnl_socket *socket;
        struct mnl_socket *monitor; /* NULL until asked for */
        /* For dumps, kept open: closing it would wait until the kernel has freed the last table
         * that was replaced (nft_rcv_nl_event()). */
        struct mnl_socket *reader;
        uint32_t sequence;
};

DEFINE_CLEANUP(struct nft, nft_free)
DEFINE_CLEANUP(struct mnl_socket, mnl_socket_close)

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

static int open_socket(struct mnl_socket **ret)
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
        r = open_socket(&n->socket);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(n);
        return 0;
}

static int start(struct nft *n, struct txn *t)
{
        return txn_begin(t, n->sequence);
}

static int commit(struct nft *n, struct txn *t, struct diag *reterr)
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

static int listen_for_changes(struct nft *n, bool on)
{
        int group = NFNLGRP_NFTABLES;

        if (!n->monitor)
                return 0;
        return mnl_socket_setsockopt(n->monitor, on ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP, &group,
                                     sizeof(group)) < 0
                       ? -errno
                       : 0;
}

static int apply(struct nft *n, const struct ruleset *r, struct diag *reterr)
{
        _cleanup_txn_ struct txn t = {};
        int error;

        error = start(n, &t);
        if (error < 0)
                return diag_set(reterr, error, NULL, 0, "%s", strerror(-error));
        error = table_build(&t, &n->options, r, reterr);
        if (error < 0)
                return error;
        return commit(n, &t, reterr);
}

/* The kernel builds a notification for each element as long as anybody listens, which doubles
 * the time of a large transaction: do not listen meanwhile. When the generation tells that
 * somebody else made a change in that moment, apply again and listen. */
int nft_apply(struct nft *n, const struct ruleset *r, struct diag *reterr)
{
        uint32_t before = 0, after = 0;
        int error, listening;

        if (ask_generation(n->socket, n->sequence++, &before) < 0 || listen_for_changes(n, false) < 0)
                return apply(n, r, reterr);
        error = apply(n, r, reterr);
        listening = listen_for_changes(n, true);
        if (error < 0)
                return error;
        if (listening < 0)
                return diag_set(reterr, listening, NULL, 0, "cannot listen for changes: %s", strerror(-listening));
        if (ask_generation(n->socket, n->sequence++, &after) < 0 || after != before + 1)
                return apply(n, r, reterr);
        return 0;
}

int nft_remove(struct nft *n)
{
        _cleanup_txn_ struct txn t = {};
        int r;

        r = start(n, &t);
        if (r < 0)
                return r;
        table_build_removal(&t, n->table);
        return commit(n, &t, NULL);
}

int nft_add_flow(struct nft *n, const struct fact_flow *f)
{
        _cleanup_txn_ struct txn t = {};
        int r;

        r = start(n, &t);
        if (r < 0)
                return r;
        r = table_build_flow(&t, n->table, f);
        if (r < 0)
                return r;
        return commit(n, &t, NULL);
}

int nft_encode(const struct nft_options *o, const struct ruleset *r, uint8_t **ret, size_t *ret_size,
               struct diag *reterr)
{
        _cleanup_txn_ struct txn t = {};
        int error;

        error = txn_begin(&t, 1);
        if (error < 0)
                return error;
        error = table_build(&t, o, r, reterr);
        if (error < 0)
                return error;
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

        for (unsigned i = 0; i < HASH_TRIES && r == -EINTR; i++) {
                r = n->reader ? 0 : open_socket(&n->reader);
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

        r = open_socket(&s);
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

/* A notification carries the port of the socket that asked for the change. Let the kernel
 * drop ours before they are queued: a reload would overrun the buffer and look like tampering. */
static int ignore_own(struct mnl_socket *monitor, uint32_t portid)
{
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)), /* as big endian */
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(portid), 0, 1),
                BPF_STMT(BPF_RET | BPF_K, 0),
                BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        };
        const struct sock_fprog program = {.len = ELEMENTSOF(code), .filter = code};
        int fd = mnl_socket_get_fd(monitor), size = MONITOR_BUFFER;

        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
                return -errno;
        return 0;
}

int nft_monitor_fd(struct nft *n)
{
        _cleanup_(mnl_socket_closep) struct mnl_socket *s = NULL;
        int r;

        if (n->monitor)
                return mnl_socket_get_fd(n->monitor);
        r = open_socket(&s);
        if (r < 0)
                return r;
        r = ignore_own(s, mnl_socket_get_portid(n->socket));
        if (r < 0)
                return r;
        n->monitor = TAKE_PTR(s);
        r = listen_for_changes(n, true);
        return r < 0 ? r : mnl_socket_get_fd(n->monitor);
}

/* Does this notification speak of our table? Attribute 1 of every object but the generation
 * is its table's name. */
static bool is_ours(const struct nft *n, const struct nlmsghdr *nlh)
{
        const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
        const struct nlattr *attr;

        if (nlh->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || (nlh->nlmsg_type & 0xff) == NFT_MSG_NEWGEN ||
            mnl_nlmsg_get_payload_len(nlh) < sizeof(*nfg) || nfg->nfgen_family != NFPROTO_INET ||
            nlh->nlmsg_pid == mnl_socket_get_portid(n->socket))
                return false;
        mnl_attr_for_each(attr, nlh,
                          sizeof(*nfg)) if (mnl_attr_get_type(attr) ==
                                            NFTA_TABLE_NAME) return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >=
                        0 &&
                strcmp(mnl_attr_get_str(attr), n->table) == 0;
        return false;
}

int nft_monitor_read(struct nft *n, bool *ret_changed)
{
        _cleanup_free_ uint8_t *buf = malloc(NOTIFICATION_MAX);
        bool changed = false;

        if (!n->monitor)
                return -EBADF;
        if (!buf)
                return -ENOMEM;
        for (;;) {
                ssize_t size = recv(mnl_socket_get_fd(n->monitor), buf, NOTIFICATION_MAX, MSG_DONTWAIT);
                int left = (int)size;

                if (size < 0 && errno == EINTR)
                        continue;
                if (size < 0 && errno == EAGAIN)
                        break;
                if (size < 0 && errno != ENOBUFS)
                        return -errno;
                changed |= size < 0; /* something was lost, so anything may have changed */
                for (const struct nlmsghdr *nlh = (void *)buf; mnl_nlmsg_ok(nlh, left);
                     nlh = mnl_nlmsg_next(nlh, &left))
                        changed |= is_ours(n, nlh);
        }
        *ret_changed = changed;
        return 0;
}
