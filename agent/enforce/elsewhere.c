/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "agent/enforce/elsewhere.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rate.h"

#define NAMESPACES_MAX 256 /* looked into for one piece of work */
/* Nothing else is done meanwhile, and people make processes and namespaces as they like: a fifth of a second at once, then a
 * tenth of the time. */
#define SEARCH_SHARE 10
#define SEARCH_NS    2000000000ull

struct elsewhere {
        uint64_t netns;
        uint32_t tgid;
        int (*work)(void *userdata);
        void *userdata;
        int result;
        ino_t tried[NAMESPACES_MAX];
        size_t n_tried;
};

uint64_t elsewhere_cookie(int socket)
{
        uint64_t cookie = 0;
        socklen_t size = sizeof(cookie);

        return getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0 ? 0 : cookie;
}

/* -EXDEV: not that network namespace, or tried before. */
static int try_namespace(struct elsewhere *e, const char *pid)
{
        char path[sizeof("/proc//ns/net") + 32];
        struct stat st;

        snprintf(path, sizeof(path), "/proc/%.32s/ns/net", pid);
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || e->n_tried == NAMESPACES_MAX)
                return -EXDEV;
        for (size_t i = 0; i < e->n_tried; i++)
                if (e->tried[i] == st.st_ino)
                        return -EXDEV;
        e->tried[e->n_tried++] = st.st_ino;
        if (setns(fd, CLONE_NEWNET) < 0)
                return -EXDEV;
        _cleanup_fd_ int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return probe >= 0 && elsewhere_cookie(probe) == e->netns ? e->work(e->userdata) : -EXDEV;
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

static int search(struct elsewhere *e)
{
        static struct rate rate = {.room = SEARCH_NS};
        uint64_t start = clock_ns(CLOCK_MONOTONIC);
        int r;

        if (!rate_has_room(&rate, start))
                return -EXDEV;
        r = try_all_namespaces(e);
        rate_take(&rate, SEARCH_SHARE * (clock_ns(CLOCK_MONOTONIC) - start));
        return r;
}

static void *run(void *userdata)
{
        struct elsewhere *e = userdata;
        char pid[16];

        snprintf(pid, sizeof(pid), "%" PRIu32, e->tgid);
        e->result = e->tgid ? try_namespace(e, pid) : -EXDEV;
        if (e->result == -EXDEV) /* the process has gone, or it is not the one that holds the socket */
                e->result = search(e);
        return NULL;
}

/* setns(2) changes the calling thread alone. */
int elsewhere_run(uint64_t netns, uint32_t tgid, int (*work)(void *userdata), void *userdata)
{
        struct elsewhere e = {.netns = netns, .tgid = tgid, .work = work, .userdata = userdata};
        pthread_t thread;
        int r;

        r = -pthread_create(&thread, NULL, run, &e);
        if (r < 0)
                return r;
        pthread_join(thread, NULL);
        return e.result;
}
