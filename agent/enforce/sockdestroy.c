/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/enforce/sockdestroy.h"
#include "base/cleanup.h"

#define ANSWER_MAX 8192

struct sockdestroy {
        struct mnl_socket *socket;
        uint64_t netns; /* cookie of our network namespace; 0 unknown */
        uint32_t sequence;
};

DEFINE_CLEANUP(struct sockdestroy, sockdestroy_free)

struct sockdestroy *sockdestroy_free(struct sockdestroy *s)
{
        if (s && s->socket)
                mnl_socket_close(s->socket);
        free(s);
        return NULL;
}

int sockdestroy_new(struct sockdestroy **ret)
{
        _cleanup_(sockdestroy_freep) struct sockdestroy *s = calloc(1, sizeof(*s));
        socklen_t size = sizeof(s->netns);
        int one = 1;

        if (!s)
                return -ENOMEM;
        s->socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
        if (!s->socket || mnl_socket_bind(s->socket, 0, MNL_SOCKET_AUTOPID) < 0)
                return -errno;
        (void)mnl_socket_setsockopt(s->socket, NETLINK_CAP_ACK, &one, sizeof(one));
        /* Linux 5.14; without it a flow of another namespace is told apart by its cookie only */
        if (getsockopt(mnl_socket_get_fd(s->socket), SOL_SOCKET, SO_NETNS_COOKIE, &s->netns, &size) < 0)
                s->netns = 0;
        *ret = TAKE_PTR(s);
        return 0;
}

static struct nlmsghdr *build_request(void *buf, const struct fact_flow *f, uint32_t sequence)
{
        struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
        struct inet_diag_req_v2 *q = mnl_nlmsg_put_extra_header(nlh, sizeof(*q));

        nlh->nlmsg_type = SOCK_DESTROY;
        nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
        nlh->nlmsg_seq = sequence;
        q->sdiag_family = f->family;
        q->sdiag_protocol = f->protocol;
        q->idiag_states = UINT32_MAX;
        q->id.idiag_sport = htons(f->local_port);
        q->id.idiag_dport = htons(f->remote_port);
        memcpy(q->id.idiag_src, f->local, sizeof(q->id.idiag_src));
        memcpy(q->id.idiag_dst, f->remote, sizeof(q->id.idiag_dst));
        q->id.idiag_cookie[0] = f->cookie ? (uint32_t)f->cookie : INET_DIAG_NOCOOKIE;
        q->id.idiag_cookie[1] = f->cookie ? (uint32_t)(f->cookie >> 32) : INET_DIAG_NOCOOKIE;
        return nlh;
}

int sockdestroy_flow(struct sockdestroy *s, const struct fact_flow *f)
{
        char buf[ANSWER_MAX];
        struct nlmsghdr *nlh;
        ssize_t size;

        if (f->family != AF_INET && f->family != AF_INET6)
                return -EINVAL;
        if (s->netns != 0 && f->netns != 0 && s->netns != f->netns)
                return -EXDEV;
        nlh = build_request(buf, f, ++s->sequence);
        if (mnl_socket_sendto(s->socket, nlh, nlh->nlmsg_len) < 0)
                return -errno;
        size = mnl_socket_recvfrom(s->socket, buf, sizeof(buf));
        if (size < 0)
                return -errno;
        return mnl_cb_run(buf, (size_t)size, s->sequence, mnl_socket_get_portid(s->socket), NULL, NULL) < 0 ? -errno
                                                                                                            : 0;
}
