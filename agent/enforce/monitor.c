/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whether somebody else changes our table. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include "agent/enforce/internal.h"

#define MONITOR_BUFFER   (4u << 20) /* other programs' changes; our own are filtered out */
#define NOTIFICATION_MAX (64u << 10)

int nft_listen(struct nft *n, bool on)
{
        int group = NFNLGRP_NFTABLES;

        if (!n->monitor)
                return 0;
        return mnl_socket_setsockopt(n->monitor, on ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP, &group,
                                     sizeof(group)) < 0
                       ? -errno
                       : 0;
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
        uint32_t generation = 0;
        int r;

        if (n->monitor)
                return mnl_socket_get_fd(n->monitor);
        r = nft_open_socket(&s);
        if (r < 0)
                return r;
        r = ignore_own(s, mnl_socket_get_portid(n->socket));
        if (r < 0)
                return r;
        n->monitor = TAKE_PTR(s);
        r = nft_listen(n, true);
        if (r == 0)
                r = nft_generation(n, &generation);
        if (r < 0)
                return r;
        if (generation != n->generation)
                nft_distrust(n);
        return mnl_socket_get_fd(n->monitor);
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
        if (changed)
                nft_distrust(n);
        n->is_change_told |= changed;
        *ret_changed = changed;
        return 0;
}
