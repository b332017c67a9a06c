/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "agent/enforce/sockdestroy.h"
#include "base/cleanup.h"

#define ANSWER_MAX     8192
#define NAMESPACES_MAX 256 /* looked into for one socket */

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

/* Linux 5.14; without it a flow of another namespace is told apart by its cookie only. */
static uint64_t netns_of(const struct mnl_socket *s)
{
        uint64_t cookie = 0;
        socklen_t size = sizeof(cookie);

        if (getsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
                return 0;
        return cookie;
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
        s->netns = netns_of(s->socket);
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

struct elsewhere { /* what a thread in another network namespace is to do */
        const struct fact_flow *flow;
        uint32_t tgid;
        int result;
        ino_t tried[NAMESPACES_MAX];
        size_t n_tried;
};

/* -EXDEV: not the flow's network namespace, or tried before. */
static int try_namespace(struct elsewhere *e, const char *pid)
{
        char path[sizeof("/proc//ns/net") + NAME_MAX];
        struct mnl_socket *socket = NULL;
        struct stat st;
        int r;

        snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || e->n_tried == NAMESPACES_MAX)
                return -EXDEV;
        for (size_t i = 0; i < e->n_tried; i++)
                if (e->tried[i] == st.st_ino)
                        return -EXDEV;
        e->tried[e->n_tried++] = st.st_ino;
        if (setns(fd, CLONE_NEWNET) < 0 || open_diag(&socket) < 0)
                return -EXDEV;
        r = netns_of(socket) == e->flow->netns ? destroy(socket, e->flow, 1) : -EXDEV;
        mnl_socket_close(socket);
        return r;
}

static int try_all_namespaces(struct elsewhere *e)
{
        DIR *d = opendir("/proc");
        int r = -EXDEV;

        if (!d)
                return -errno;
        for (struct dirent *p; r == -EXDEV && (p = readdir(d));)
                if (p->d_name[0] >= '1' && p->d_name[0] <= '9')
                        r = try_namespace(e, p->d_name);
        closedir(d);
        return r;
}

static void *destroy_thread(void *userdata)
{
        struct elsewhere *e = userdata;
        char pid[16];

        snprintf(pid, sizeof(pid), "%" PRIu32, e->tgid);
        e->result = e->tgid ? try_namespace(e, pid) : -EXDEV;
        if (e->result == -EXDEV) /* the process has gone, or it is not the one that holds the socket */
                e->result = try_all_namespaces(e);
        return NULL;
}

/* setns(2) changes the calling thread alone, and this one ends with its work: the agent itself never
 * leaves its network namespace. */
static int destroy_elsewhere(const struct fact_flow *f, uint32_t tgid)
{
        struct elsewhere e = {.flow = f, .tgid = tgid};
        pthread_t thread;
        int r;

        r = -pthread_create(&thread, NULL, destroy_thread, &e);
        if (r < 0)
                return r;
        pthread_join(thread, NULL);
        return e.result;
}

int sockdestroy_flow(struct sockdestroy *s, const struct fact_flow *f, uint32_t tgid)
{
        if (f->family != AF_INET && f->family != AF_INET6)
                return -EINVAL;
        if (s->netns != 0 && f->netns != 0 && s->netns != f->netns)
                return destroy_elsewhere(f, tgid);
        return destroy(s->socket, f, ++s->sequence);
}
