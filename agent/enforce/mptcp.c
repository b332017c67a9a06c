/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include "agent/enforce/mptcp.h"
#include "base/cleanup.h"

#define DESCRIPTORS_MAX 16384 /* looked at, of one process */

struct end {
        uint8_t address[16];
        uint16_t port;
};

static void set_v4(struct end *e, const void *address)
{
        memcpy(e->address, (const uint8_t[12]){[10] = 0xff, [11] = 0xff}, 12);
        memcpy(e->address + 12, address, 4);
}

static bool end_of(int fd, int (*get)(int, struct sockaddr *, socklen_t *), struct end *ret)
{
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
        } a = {0};
        socklen_t size = sizeof(a);

        if (get(fd, &a.any, &size) < 0)
                return false;
        if (a.any.sa_family == AF_INET)
                set_v4(ret, &a.v4.sin_addr);
        else if (a.any.sa_family == AF_INET6)
                memcpy(ret->address, &a.v6.sin6_addr, sizeof(ret->address));
        else
                return false;
        ret->port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
        return true;
}

static bool is_of(int fd, const struct fact_flow *f)
{
        struct end local, peer, wanted = {.port = f->remote_port};
        int protocol = 0;
        socklen_t size = sizeof(protocol);

        if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0 || protocol != IPPROTO_MPTCP)
                return false;
        if (f->family == AF_INET)
                set_v4(&wanted, f->remote);
        else
                memcpy(wanted.address, f->remote, sizeof(wanted.address));
        return end_of(fd, getsockname, &local) && end_of(fd, getpeername, &peer) && local.port == f->local_port &&
               peer.port == wanted.port && !memcmp(peer.address, wanted.address, sizeof(peer.address));
}

int mptcp_shutdown(const struct fact_flow *f, uint32_t tgid)
{
        char path[sizeof("/proc//fd") + 10];
        _cleanup_fd_ int pidfd = pidfd_open((pid_t)tgid, 0);
        int r = -ENOENT, n = 0;

        if (pidfd < 0)
                return -errno;
        snprintf(path, sizeof(path), "/proc/%" PRIu32 "/fd", tgid);
        DIR *d = opendir(path);
        if (!d)
                return -errno;
        for (struct dirent *e; n < DESCRIPTORS_MAX && (e = readdir(d)); n++) {
                if (e->d_name[0] == '.')
                        continue;
                _cleanup_fd_ int fd = pidfd_getfd(pidfd, (int)strtol(e->d_name, NULL, 10), 0);
                if (fd >= 0 && is_of(fd, f) && shutdown(fd, SHUT_RDWR) == 0)
                        r = 0;
        }
        closedir(d);
        return r;
}
