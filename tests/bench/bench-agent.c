/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the agent costs: the same operations with and without it in turn, in one run, so that
 * whatever else the machine does strikes both.
 *
 *   bench-agent ratios AGENT CONFIG ADDRESS CGROUP   exec, connect, DNS, throughput, start, resident
 *   bench-agent reload AGENT CONFIG CONTROL          reload through the control socket
 *   bench-agent gap AGENT CONFIG CONTROL CGROUP CATALOGUE DEVICE   see gap.h
 *
 * BENCH_ROUNDS (30) rounds are measured; a ratio is the median of the rounds' ratios. A floor is the
 * ratio with empty programs and an empty chain in the agent's place, `rules` that with empty programs and the agent's table. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent.h"
#include "base/cleanup.h"
#include "bench.h"
#include "floor.h"
#include "gap.h"

#define ROUNDS_MAX   100
#define N_EXEC       150
#define N_CONNECT    300
#define N_DNS        400
#define N_RELOADS    15
#define STREAM_BYTES (256u << 20)

enum operation { OP_EXEC, OP_CONNECT, OP_DNS, OP_STREAM, _OP_MAX };
static const char *const names[] = {"exec", "connect", "dns", "throughput"};
_Static_assert(ELEMENTSOF(names) == _OP_MAX, "an operation has no name");

static struct sockaddr_in world = {.sin_family = AF_INET};

static double measure_exec(void)
{
        static char *const argv[] = {(char *)"true", NULL};
        double samples[N_EXEC];

        for (unsigned i = 0; i < N_EXEC; i++) {
                double start = now_us();
                pid_t pid = fork();
                int status;

                if (pid == 0) {
                        execv("/bin/true", argv);
                        _exit(127);
                }
                if (waitpid(pid, &status, 0) != pid || status != 0)
                        die("/bin/true");
                samples[i] = now_us() - start;
        }
        return median(samples, N_EXEC);
}

static int connect_world(int type, uint16_t port)
{
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

        world.sin_port = htons(port);
        if (fd < 0 || connect(fd, (struct sockaddr *)&world, sizeof(world)) < 0)
                die("connect");
        return fd;
}

static double measure_connect(void)
{
        const struct linger abort_at_close = {.l_onoff = 1}; /* no TIME-WAIT: ports do not run out */
        double samples[N_CONNECT];

        for (unsigned i = 0; i < N_CONNECT; i++) {
                double start = now_us();
                int fd = connect_world(SOCK_STREAM, 443);

                samples[i] = now_us() - start;
                if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_at_close, sizeof(abort_at_close)) < 0)
                        die("setsockopt");
                fd_close(&fd);
        }
        return median(samples, N_CONNECT);
}

static double measure_dns(void)
{
        static const uint8_t query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                                       "\x03www\x08innocent\x04shop\x07"
                                       "example\x00\x00\x01\x00\x01";
        double samples[N_DNS];
        uint8_t answer[512];

        for (unsigned i = 0; i < N_DNS; i++) {
                double start = now_us();
                int fd = connect_world(SOCK_DGRAM, 53);

                if (send(fd, query, sizeof(query) - 1, 0) < 0 || recv(fd, answer, sizeof(answer), 0) < 0)
                        die("DNS");
                fd_close(&fd);
                samples[i] = now_us() - start;
        }
        return median(samples, N_DNS);
}

/* MiB/s, until the other end has read everything. */
static double measure_stream(void)
{
        static uint8_t bytes[256 << 10];
        double start = now_us();
        _cleanup_fd_ int fd = connect_world(SOCK_STREAM, 443);

        for (size_t left = STREAM_BYTES; left > 0;) {
                ssize_t n = write(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes));

                if (n <= 0)
                        die("write");
                left -= (size_t)n;
        }
        if (shutdown(fd, SHUT_WR) < 0 || read(fd, bytes, 1) != 0)
                die("end of stream");
        return (double)STREAM_BYTES / (1 << 20) / ((now_us() - start) / 1e6);
}

static double measure(enum operation op)
{
        switch (op) {
        case OP_EXEC:
                return measure_exec();
        case OP_CONNECT:
                return measure_connect();
        case OP_DNS:
                return measure_dns();
        case OP_STREAM:
                return measure_stream();
        case _OP_MAX:
                break;
        }
        die("no such operation");
}

static unsigned rounds(void)
{
        const char *text = getenv("BENCH_ROUNDS");
        int n = text ? atoi(text) : 30;

        return n < 1 ? 1 : n > ROUNDS_MAX ? ROUNDS_MAX : (unsigned)n;
}

enum state { STATE_WITHOUT, STATE_FLOOR, STATE_RULES, STATE_WITH, _STATE_MAX };
static double results[_STATE_MAX][_OP_MAX][ROUNDS_MAX];

static double median_ratio(enum operation op, enum state s, unsigned n)
{
        double ratio[ROUNDS_MAX];

        for (unsigned i = 0; i < n; i++)
                ratio[i] = results[s][op][i] / results[STATE_WITHOUT][op][i];
        return median(ratio, n);
}

static void print_operation(enum operation op, unsigned n)
{
        const char *unit = op == OP_STREAM ? "MiB/s" : "us";

        printf("%s_floor %.3f ratio\n", names[op], median_ratio(op, STATE_FLOOR, n));
        printf("%s_rules %.3f ratio\n", names[op], median_ratio(op, STATE_RULES, n));
        printf("%s_ratio %.3f ratio\n", names[op], median_ratio(op, STATE_WITH, n));
        printf("%s_without %.1f %s\n", names[op], median(results[STATE_WITHOUT][op], n), unit);
        printf("%s_with %.1f %s\n", names[op], median(results[STATE_WITH][op], n), unit);
}

struct subject {
        const char *program, *config, *cgroup;
        char table[4096]; /* a file: the agent's, as nft(8) lists it */
        double start[ROUNDS_MAX], resident[ROUNDS_MAX];
};

static void measure_state(struct subject *x, enum state s, unsigned round)
{
        struct empty_hooks f = {};
        struct agent a = {};

        if (s == STATE_FLOOR || s == STATE_RULES)
                floor_start(&f, x->cgroup, s == STATE_RULES ? x->table : NULL);
        if (s == STATE_WITH)
                agent_start(&a, x->program, x->config);
        for (unsigned op = 0; op < _OP_MAX; op++)
                (void)measure(
                        (enum operation)op); /* what the last state left to the kernel to free is gone by then */
        for (unsigned op = 0; op < _OP_MAX; op++)
                results[s][op][round] = measure((enum operation)op);
        if (s == STATE_FLOOR || s == STATE_RULES)
                floor_stop(&f);
        if (s == STATE_WITH) {
                x->start[round] = a.start_us;
                x->resident[round] = agent_resident_mib(&a);
                agent_stop(&a);
        }
}

static void save_table(struct subject *x)
{
        struct agent a = {};
        char command[2 * sizeof(x->table)];

        snprintf(x->table, sizeof(x->table), "%s.nft", x->config);
        snprintf(command, sizeof(command), "nft list table inet onchannel >'%s'", x->table);
        agent_start(&a, x->program, x->config);
        if (system(command))
                die(command);
        agent_stop(&a);
}

static void ratios(const char *program, const char *config, const char *cgroup)
{
        static struct subject x;
        unsigned n = rounds();

        x = (struct subject){.program = program, .config = config, .cgroup = cgroup};
        save_table(&x);
        for (unsigned i = 0; i < n; i++)
                for (unsigned s = 0; s < _STATE_MAX; s++) /* ABCD DABC …: a drift cancels out */
                        measure_state(&x, (enum state)((s + 3 * i) % _STATE_MAX), i);
        for (unsigned op = 0; op < _OP_MAX; op++)
                print_operation((enum operation)op, n);
        printf("start %.1f ms\n", median(x.start, n) / 1e3);
        printf("resident %.1f MiB\n", median(x.resident, n));
}

static void reload(const char *program, const char *config, const char *control)
{
        double samples[N_RELOADS];
        struct agent a = {};

        agent_start(&a, program, config);
        for (unsigned i = 0; i < N_RELOADS; i++)
                samples[i] = agent_reload_us(control);
        printf("reload %.1f ms\n", median(samples, N_RELOADS) / 1e3);
        printf("reload_start %.1f ms\n", a.start_us / 1e3);
        printf("reload_resident %.1f MiB\n", agent_resident_mib(&a));
        agent_stop(&a);
}

int main(int argc, char **argv)
{
        const char *verb = argc > 1 ? argv[1] : "";

        if (argc == 6 && strcmp(verb, "ratios") == 0 && inet_pton(AF_INET, argv[4], &world.sin_addr) == 1)
                ratios(argv[2], argv[3], argv[5]);
        else if (argc == 5 && strcmp(verb, "reload") == 0)
                reload(argv[2], argv[3], argv[4]);
        else if (argc == 8 && strcmp(verb, "gap") == 0)
                gap_measure(&(struct gap){argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]});
        else
                return fprintf(stderr, "usage: bench-agent ratios|reload|gap AGENT CONFIG …\n"), 2;
        return 0;
}
