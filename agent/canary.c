/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Does blocking work, and not only stand there? A process of the agent's own, in the watched cgroup, asks a resolver that does
 * not exist for a name that every rule set blocks. The kernel's word that it dropped the query is the proof. */
#include "agent/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define PROBE_TRIES      3 /* an event may be lost when the ring buffer is full */
#define PROBE_TIMEOUT_MS 2000
#define PROBE_ADDRESS    0x7f646e63 /* 127.100.110.99: never leaves the machine, whatever happens */
#define RING_RECORDS     256
#define RING_TURNS       256
#define RING_TURN_US     5000

/* RFC 1035 4.1: RD, one question, onchannel-canary.invalid A IN. */
static const char query[] = "oc\1\0\0\1\0\0\0\0\0\0\20onchannel-canary\7invalid\0\0\1\0\1";

static const char *const result_names[] = {
        [CANARY_UNPROVEN] = "unproven", [CANARY_BLOCKED] = "blocked", [CANARY_PASSED] = "passed"};

const char *canary_to_string(enum canary_result r)
{
        return result_names[r];
}

/* In the child: async-signal-safe calls only. */
static _Noreturn void send_query(void)
{
        const struct sockaddr_in to = {
                .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(PROBE_ADDRESS)};
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || sendto(fd, query, sizeof(query) - 1, 0, (const struct sockaddr *)&to, sizeof(to)) < 0)
                _exit(errno < 255 ? errno : 255);
        _exit(0);
}

/* Linux 5.7: into the watched cgroup from its first instruction. */
static pid_t start_probe(const struct config *c, int *ret_pidfd)
{
        _cleanup_fd_ int cgroup = c->cgroup ? open(c->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
        struct clone_args a = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)ret_pidfd, .exit_signal = SIGCHLD};
        long pid;

        if (c->cgroup && cgroup < 0)
                return -errno;
        if (c->cgroup) {
                a.flags |= CLONE_INTO_CGROUP;
                a.cgroup = (uint64_t)cgroup;
        }
        pid = syscall(SYS_clone3, &a, sizeof(a));
        if (pid < 0 && errno == ENOSYS &&
            !c->cgroup) /* systemd.exec(5), RestrictNamespaces=: seccomp sees no flags of clone3 */
                pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, ret_pidfd, NULL, 0);
        if (pid == 0)
                send_query();
        return pid < 0 ? -errno : (pid_t)pid;
}

/* What sendto() said: 0 or an errno; negative: the probe itself failed. */
static int run_probe(struct runtime *rt)
{
        _cleanup_fd_ int pidfd = -1;
        pid_t pid = start_probe(rt->config, &pidfd);
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        siginfo_t si = {0};

        if (pid < 0)
                return pid;
        rt->canary.pid = (uint32_t)pid;
        if (poll(&p, 1, PROBE_TIMEOUT_MS) <= 0)
                syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0 || si.si_code != CLD_EXITED)
                return -ETIMEDOUT;
        return si.si_status;
}

/* The event was in the ring buffer before the probe ended. */
static bool was_dropped(struct runtime *rt)
{
        for (int i = 0; i < RING_TURNS && !rt->canary.seen; i++)
                if (watch_dispatch(rt->watch, RING_RECORDS, RING_TURN_US) <= 0)
                        break;
        return rt->canary.seen;
}

enum canary_result canary_probe(struct runtime *rt)
{
        int r = -ENOENT;

        rt->canary.result = CANARY_UNPROVEN;
        rt->canary.seen = false;
        for (int i = 0; i < PROBE_TRIES && rt->current && rt->current->canary && !rt->canary.seen; i++) {
                r = run_probe(rt);
                if (was_dropped(rt))
                        rt->canary.result = CANARY_BLOCKED;
                else if (r == 0)
                        rt->canary.result = CANARY_PASSED;
        }
        if (rt->canary.result == CANARY_UNPROVEN)
                log_errno(LOG_WARNING, r < 0 ? r : -r, "cannot prove that a blocked name is blocked");
        rt->canary.when = time(NULL);
        rt->canary.generation = rt->generation;
        status_dirty(rt);
        return rt->canary.result;
}

bool canary_take(struct runtime *rt, const struct fact *f)
{
        const struct ruleset *rs = runtime_ruleset(rt, f->generation);

        if (!rs || !rs->canary || f->channel != rs->canary)
                return false;
        if (f->tgid == rt->canary.pid && f->generation == rt->generation && f->outcome != OUTCOME_PASSED)
                rt->canary.seen = true;
        return true;
}
