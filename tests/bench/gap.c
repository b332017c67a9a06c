/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two probers send as fast as they can during 1,000 reloads, every twentieth of another catalogue:
 * one inside the watched cgroup, also by a socket that was connected before the agent began, and one
 * outside, whose sockets no eBPF program sees; each by UDP and by TCP. A packet socket behind netfilter's
 * hook counts what leaves. */
#include "gap.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"
#include "base/cleanup.h"
#include "bench.h"

#define N_RELOADS        1000
#define CATALOGUE_EACH   20
#define N_PROBERS        2
#define WATCHED_PAUSE_US 1000 /* the agent is to reload, not to write records */

struct prober {
        unsigned sent;
        bool end;
};

static struct sockaddr_in blocked(unsigned i)
{
        uint32_t channel = 1 + i % 198, prefix = 1 + i / 198 % 51;

        return (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons(9),
                                    .sin_addr.s_addr = htonl(11u << 24 | channel << 16 | prefix << 9 | 1)};
}

static int connected(void)
{
        const struct sockaddr_in to = blocked(0);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
                die("connect");
        return fd;
}

static void probe(volatile struct prober *p, int before, bool is_watched)
{
        _cleanup_fd_ int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        for (unsigned i = 0; !p->end; i++) {
                const struct sockaddr_in to = blocked(i);
                _cleanup_fd_ int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

                (void)!send(before, "x", 1, 0);
                (void)!sendto(udp, "x", 1, 0, (const struct sockaddr *)&to, sizeof(to));
                (void)!connect(tcp, (const struct sockaddr *)&to, sizeof(to));
                p->sent += 3;
                if (is_watched)
                        usleep(WATCHED_PAUSE_US);
        }
}

static void leave_cgroup(const char *cgroup)
{
        char path[PATH_MAX];
        _cleanup_fd_ int fd = -1;

        snprintf(path, sizeof(path), "%s/../cgroup.procs", cgroup);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
                die(path);
}

/* Counts packets to 11.0.0.0/8 that leave by the device. */
static int watch_device(const char *device)
{
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 3),
                BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_NET_OFF + 16)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 11, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
                BPF_STMT(BPF_RET | BPF_K, 0),
        };
        const struct sock_fprog filter = {.len = ELEMENTSOF(code), .filter = code};
        struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
        int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        a.sll_ifindex = (int)if_nametoindex(device);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0 ||
            bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                die("packet socket");
        return fd;
}

/* Since the last time; packets that did not fit the socket are counted as well. */
static unsigned count_left(int watcher)
{
        struct tpacket_stats s;
        socklen_t size = sizeof(s);

        if (getsockopt(watcher, SOL_PACKET, PACKET_STATISTICS, &s, &size) < 0)
                die("PACKET_STATISTICS");
        return s.tp_packets;
}

static void must_see(int watcher)
{
        _cleanup_fd_ int fd = connected();
        double start = now_us();

        do {
                if (now_us() - start > 5e6)
                        errno = ENOMSG, die("what leaves without an agent is not seen");
                (void)!send(fd, "x", 1, 0);
        } while (count_left(watcher) == 0);
}

static void switch_catalogue(const struct gap *g, bool other)
{
        char fresh[PATH_MAX];

        snprintf(fresh, sizeof(fresh), "%s.new", g->catalogue);
        if (symlink(other ? "b" : "a", fresh) < 0 || rename(fresh, g->catalogue) < 0)
                die(fresh);
}

static void start_probers(const struct gap *g, volatile struct prober *p, int before, pid_t ret[static N_PROBERS])
{
        for (unsigned i = 0; i < N_PROBERS; i++) {
                ret[i] = fork();
                if (ret[i] != 0)
                        continue;
                if (i > 0) {
                        leave_cgroup(g->cgroup);
                        before = connected();
                }
                if (nice(10) < 0)
                        die("nice");
                probe(&p[i], before, i == 0);
                _exit(0);
        }
        for (unsigned i = 0; i < N_PROBERS; i++)
                while (p[i].sent == 0)
                        usleep(1000);
}

void gap_measure(const struct gap *g)
{
        static double samples[N_RELOADS];
        volatile struct prober *p =
                mmap(NULL, N_PROBERS * sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        _cleanup_fd_ int watcher = watch_device(g->device), before = connected();
        pid_t pids[N_PROBERS];
        struct agent a = {};
        unsigned left;

        must_see(watcher);
        agent_start(&a, g->program, g->config);
        count_left(watcher);
        start_probers(g, p, before, pids);
        for (unsigned i = 0; i < N_RELOADS; i++) {
                if (i % CATALOGUE_EACH == 0)
                        switch_catalogue(g, i / CATALOGUE_EACH % 2);
                samples[i] = agent_reload_us(g->control);
        }
        for (unsigned i = 0; i < N_PROBERS; i++) {
                p[i].end = true;
                if (waitpid(pids[i], NULL, 0) != pids[i])
                        die("prober");
        }
        left = count_left(watcher);
        printf("probed_reloads %d reloads\n", N_RELOADS);
        printf("probed_reload %.1f ms\n", median(samples, N_RELOADS) / 1e3);
        printf("probed_packets %u packets\n", p[0].sent + p[1].sent);
        printf("probed_let_through %u packets\n", left);
        fflush(stdout);
        agent_stop(&a);
        must_see(watcher);
        if (left)
                errno = EPERM, die("packets to blocked addresses have left");
}
