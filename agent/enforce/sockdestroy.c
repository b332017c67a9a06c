/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/enforce/elsewhere.h"
#include "agent/enforce/sockdestroy.h"
#include "base/cleanup.h"

#define ANSWER_MAX 8192

struct sockdestroy {
        struct mnl_socket *socket;
        uint64_t
                netns; /* cookie of our network namespace; 0 unknown, and then a flow is told apart by its own alone */
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

static int open_diag(struct mnl_socket **ret)
{
        struct mnl_socket *s = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
        int one = 1;

        if (!s)
                return -errno;
        if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
                int r = -errno;

                mnl_socket_close(s);
                return r;
        }
        (void)mnl_socket_setsockopt(s, NETLINK_CAP_ACK, &one, sizeof(one));
        *ret = s;
        return 0;
}

int sockdestroy_new(struct sockdestroy **ret)
{
        _cleanup_(sockdestroy_freep) struct sockdestroy *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        r = open_diag(&s->socket);
        if (r < 0)
                return r;
        s->netns = elsewhere_cookie(mnl_socket_get_fd(s->socket));
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

static int destroy(struct mnl_socket *socket, const struct fact_flow *f, uint32_t sequence)
{
        struct nlmsghdr *nlh;
        char buf[ANSWER_MAX];
        ssize_t size;

        nlh = build_request(buf, f, sequence);
        if (mnl_socket_sendto(socket, nlh, nlh->nlmsg_len) < 0)
                return -errno;
        size = mnl_socket_recvfrom(socket, buf, sizeof(buf));
        if (size < 0)
                return -errno;
        return mnl_cb_run(buf, (size_t)size, sequence, mnl_socket_get_portid(socket), NULL, NULL) < 0 ? -errno : 0;
}

static int destroy_elsewhere(void *userdata)
{
        const struct fact_flow *f = userdata;
        struct mnl_socket *socket = NULL;
        int r;

        r = open_diag(&socket);
        if (r < 0)
                return r;
        r = destroy(socket, f, 1);
        mnl_socket_close(socket);
        return r;
}

int sockdestroy_flow(struct sockdestroy *s, const struct fact_flow *f, uint32_t tgid)
{
        if (f->family != AF_INET && f->family != AF_INET6)
                return -EINVAL;
        if (s->netns != 0 && f->netns != 0 && s->netns != f->netns)
                return elsewhere_run(f->netns, tgid, destroy_elsewhere, (void *)f);
        return destroy(s->socket, f, ++s->sequence);
}
