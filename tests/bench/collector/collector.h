/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A real collector in a temporary folder, with SQLite or a PostgreSQL of its own, and what it costs. */
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include "base/io.h"
#include "tests/unit/collector-client.h"
#include "tests/unit/postgres.h"

struct collector {
        const char *program;
        char dir[64], ca[96], url[64];
        pid_t pid;
        struct postgres postgres; /* its url is empty: SQLite */
};

static inline double now_s(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Runs the collector's program; what it prints comes out of *ret_fd. */
static inline pid_t collector_run(const struct collector *c, char *const argv[], int *ret_fd)
{
        int fds[2];
        pid_t pid;

        DEMAND(pipe(fds) == 0);
        pid = fork();
        DEMAND(pid >= 0);
        if (pid == 0) {
                dup2(fds[1], 1);
                dup2(fds[1], 2);
                close(fds[0]);
                close(fds[1]);
                execv(c->program, argv);
                _exit(127);
        }
        close(fds[1]);
        *ret_fd = fds[0];
        return pid;
}

static inline void collector_command(const struct collector *c, char *const argv[], char *ret, size_t size)
{
        int fd, status;
        pid_t pid = collector_run(c, argv, &fd);
        FILE *f = fdopen(fd, "r");
        size_t n = fread(ret, 1, size - 1, f);

        ret[n] = 0;
        fclose(f);
        DEMAND(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
                fprintf(stderr, "%s %s: %s\n", c->program, argv[1], ret);
                exit(1);
        }
}

/* (Again) on the port of before, if there was one. */
static inline void collector_serve(struct collector *c)
{
        char line[256];
        FILE *f;
        int fd;

        c->pid = collector_run(c, (char *[]){"collector", "serve", c->dir, NULL}, &fd);
        f = fdopen(fd, "r");
        *c->url = 0;
        while (!*c->url && fgets(line, sizeof(line), f)) {
                const char *at = strstr(line, "agents: listening on ");

                if (at)
                        snprintf(c->url, sizeof(c->url), "https://127.0.0.1:%u",
                                 (unsigned)strtoul(strrchr(at, ':') + 1, NULL, 10));
        }
        DEMAND(*c->url);
        if (fork() == 0) { /* what it says from now on, so that it never waits to say it */
                while (fgets(line, sizeof(line), f))
                        continue;
                _exit(0);
        }
        fclose(f);
}

static inline void collector_start(struct collector *c, char *token, size_t token_size, unsigned uses)
{
        char output[4096], uses_text[16];

        DEMAND(folder_new(c->dir, sizeof(c->dir), "onchannel-bench"));
        snprintf(c->ca, sizeof(c->ca), "%s/server-ca.pem", c->dir);
        snprintf(uses_text, sizeof(uses_text), "%u", uses);
        collector_command(c,
                          (char *[]){"collector", "init", c->dir, "--agents", "*:0", "--page", "127.0.0.1:0",
                                     *c->postgres.url ? "--store" : NULL, c->postgres.url, NULL},
                          output, sizeof(output));
        collector_command(c, (char *[]){"collector", "token", c->dir, "--uses", uses_text, NULL}, token, token_size);
        token[strcspn(token, "\n")] = 0;
        collector_serve(c);
}

static inline void collector_stop(struct collector *c)
{
        int status;

        kill(c->pid, SIGTERM);
        DEMAND(waitpid(c->pid, &status, 0) == c->pid && status == 0);
        if (*c->postgres.url)
                postgres_stop(&c->postgres);
        nftw(c->dir, postgres_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- processor time, in seconds ---- */

struct cpu {
        double wall, client, collector, postgres;
};

/* Of one process; with `children`, of those that it has waited for as well. */
static inline double cpu_of(pid_t pid, bool children, pid_t *ret_parent)
{
        char path[64], line[1024], *at;
        unsigned long user, system;
        long child_user, child_system;
        int parent;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        f = fopen(path, "r");
        at = f && fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
        if (f)
                fclose(f);
        if (!at || sscanf(at + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &parent, &user,
                          &system, &child_user, &child_system) != 5)
                return 0;
        if (ret_parent)
                *ret_parent = parent;
        return (double)(user + system + (children ? (unsigned long)(child_user + child_system) : 0)) /
               (double)sysconf(_SC_CLK_TCK);
}

#define POSTGRES_PROCESSES_MAX 64

/* Of the server, the first one first. */
static inline size_t postgres_processes(const struct postgres *p, pid_t ret[static POSTGRES_PROCESSES_MAX])
{
        char path[96];
        size_t n = 1;
        glob_t found;
        FILE *f;

        snprintf(path, sizeof(path), "%s/db/postmaster.pid", p->dir);
        f = fopen(path, "r");
        DEMAND(f && fscanf(f, "%d", &ret[0]) == 1);
        fclose(f);
        DEMAND(glob("/proc/[0-9]*", GLOB_NOSORT, NULL, &found) == 0);
        for (size_t i = 0; i < found.gl_pathc && n < POSTGRES_PROCESSES_MAX; i++) {
                pid_t pid = atoi(found.gl_pathv[i] + 6), parent = 0;

                cpu_of(pid, false, &parent);
                if (parent == ret[0])
                        ret[n++] = pid;
        }
        globfree(&found);
        return n;
}

static inline double cpu_of_postgres(const struct postgres *p)
{
        pid_t pids[POSTGRES_PROCESSES_MAX];
        size_t n = postgres_processes(p, pids);
        double sum = cpu_of(pids[0], true, NULL);

        for (size_t i = 1; i < n; i++)
                sum += cpu_of(pids[i], false, NULL);
        return sum;
}

/* proc(5): what a process has of memory, of a page that n of them share the nth part (Linux 5.0). */
static inline void pss_add(pid_t pid, unsigned long *sum_kib, unsigned long *shared_kib)
{
        char path[64], line[128];
        unsigned long kib;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
        f = fopen(path, "r");
        while (f && fgets(line, sizeof(line), f)) {
                if (sscanf(line, "Pss: %lu", &kib) == 1)
                        *sum_kib += kib;
                if (sscanf(line, "Pss_Shmem: %lu", &kib) == 1)
                        *shared_kib += kib;
        }
        if (f)
                fclose(f);
}

static inline void memory_print(const char *name, const struct collector *c)
{
        unsigned long sum = 0, shared = 0;
        pid_t pids[POSTGRES_PROCESSES_MAX];
        size_t n = postgres_processes(&c->postgres, pids);

        for (size_t i = 0; i < n; i++)
                pss_add(pids[i], &sum, &shared);
        printf("%s-memory %.0f MiB of %zu processes, %.0f MiB of that shared\n", name, (double)sum / 1024, n,
               (double)shared / 1024);
}

static inline struct cpu cpu_now(const struct collector *c)
{
        return (struct cpu){now_s(), cpu_of(getpid(), false, NULL), cpu_of(c->pid, false, NULL),
                            *c->postgres.url ? cpu_of_postgres(&c->postgres) : 0};
}

static inline void cpu_line(const char *name, const char *who, double cpu, double wall)
{
        printf("%s-cpu-%s %.2f s, %.0f %% of a processor\n", name, who, cpu, 100 * cpu / wall);
}

/* Seconds are what it costs, whatever else the machine does; the rest says who had the processors. */
static inline void cpu_print(const char *name, const struct collector *c, struct cpu before)
{
        struct cpu now = cpu_now(c);
        double wall = now.wall - before.wall;

        cpu_line(name, "load-generator", now.client - before.client, wall);
        cpu_line(name, "collector", now.collector - before.collector, wall);
        if (*c->postgres.url)
                cpu_line(name, "postgres", now.postgres - before.postgres, wall);
}

/* "postgres" or "sqlite" */
static inline void collector_store(struct collector *c, const char *kind)
{
        if (strcmp(kind, "postgres") == 0 &&
            !postgres_start(&c->postgres, "-c shared_buffers=512MB -c max_wal_size=4GB"))
                exit(77);
}
