/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "base/cleanup.h"
#include "bench.h"

#define READY_TIMEOUT_MS 20000

void die(const char *what)
{
        fprintf(stderr, "bench-agent: %s: %s\n", what, strerror(errno));
        exit(1);
}

/* sd_notify(3): an abstract socket, so that no file stays behind. */
static int notify_socket(char *ret_name, size_t size)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        snprintf(ret_name, size, "@onchannel-bench-%d", getpid());
        memcpy(a.sun_path + 1, ret_name + 1, strlen(ret_name) - 1);
        if (fd < 0 || bind(fd, (struct sockaddr *)&a,
                           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(ret_name))) < 0)
                die("notify socket");
        return fd;
}

void agent_start(struct agent *a, const char *program, const char *config)
{
        char name[64], message[4096];
        _cleanup_fd_ int notify = notify_socket(name, sizeof(name));
        double start = now_us();

        a->pid = fork();
        if (a->pid == 0) {
                setenv("NOTIFY_SOCKET", name, 1);
                execl(program, program, "--config", config, "--release", NULL);
                die(program);
        }
        for (;;) {
                struct pollfd p = {.fd = notify, .events = POLLIN};
                ssize_t n;

                if (waitpid(a->pid, NULL, WNOHANG) != 0 || poll(&p, 1, 10) < 0 ||
                    now_us() - start > READY_TIMEOUT_MS * 1e3)
                        die("the agent does not get ready");
                n = recv(notify, message, sizeof(message) - 1, MSG_DONTWAIT);
                message[n > 0 ? n : 0] = '\0';
                if (strstr(message, "READY=1"))
                        break;
        }
        a->start_us = now_us() - start;
}

void agent_stop(struct agent *a)
{
        int status;

        if (a->pid == 0)
                return;
        if (kill(a->pid, SIGTERM) < 0 || waitpid(a->pid, &status, 0) < 0 || status != 0)
                die("the agent does not end in order");
        a->pid = 0;
}

double agent_resident_mib(const struct agent *a)
{
        char path[64], line[256];
        _cleanup_file_ FILE *f = NULL;
        unsigned long kib = 0;

        snprintf(path, sizeof(path), "/proc/%d/status", a->pid);
        f = fopen(path, "re");
        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "VmRSS: %lu", &kib) == 1)
                        return (double)kib / 1024;
        die(path);
}

/* One request and its answer, which begins in `answer`. */
static void ask(int fd, const char *request, char answer[static 4096])
{
        char rest[4096];
        ssize_t n;

        if (write(fd, request, strlen(request)) < 0)
                die(request);
        n = read(fd, answer, 4095);
        if (n <= 0)
                die(request);
        answer[n] = '\0';
        for (bool ended = answer[n - 1] == '\n'; !ended; ended = rest[n - 1] == '\n')
                if ((n = read(fd, rest, sizeof(rest))) <= 0)
                        die(request);
}

double agent_reload_us(const char *control_socket)
{
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        char answer[4096];
        double start;

        snprintf(a.sun_path, sizeof(a.sun_path), "%s", control_socket);
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                die(control_socket);
        /* a connection is taken behind what the reload before has left to do */
        ask(fd, "{\"verb\":\"status\"}\n", answer);
        start = now_us();
        ask(fd, "{\"verb\":\"reload\"}\n", answer);
        if (!strstr(answer, "\"ok\":true") && !strstr(answer, "\"ok\": true")) {
                errno = EPROTO;
                die(answer);
        }
        return now_us() - start;
}
