/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/io.h"
#include "cli/cli.h"

struct agent_reader {
        FILE *stream;
        char *line;
        size_t allocated;
};

struct agent_reader *agent_close(struct agent_reader *a)
{
        if (!a)
                return NULL;
        file_closep(&a->stream);
        free(a->line);
        free(a);
        return NULL;
}

static int connect_to(const char *path)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        _cleanup_fd_ int fd = -1;

        if (strlen(path) >= sizeof(a.sun_path))
                return -ENAMETOOLONG;
        strcpy(a.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int agent_open(const struct cli *c, json_t *request, struct agent_reader **ret)
{
        json_auto_t *taken = request;
        _cleanup_free_ char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
        _cleanup_(agent_closep) struct agent_reader *a = calloc(1, sizeof(*a));
        _cleanup_fd_ int fd = -1;
        int r;

        line = text ? format_new("%s\n", text) : NULL;
        if (!line || !a)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        fd = r = connect_to(c->socket);
        if (r == -ENOENT || r == -ECONNREFUSED)
                return cli_fail(c, STATUS_NO_AGENT,
                                "the agent is not running (nobody listens on '%s'); "
                                "start it with 'systemctl start onchannel'",
                                c->socket);
        if (r < 0)
                return cli_fail(c, STATUS_NO_AGENT, "cannot reach the agent on '%s': %s", c->socket, strerror(-r));
        r = fd_write_all(fd, line, strlen(line));
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot ask the agent: %s", strerror(-r));
        a->stream = fdopen(fd, "r");
        if (!a->stream)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        TAKE_FD(fd);
        *ret = TAKE_PTR(a);
        return STATUS_OK;
}

int agent_next(const struct cli *c, struct agent_reader *a, json_t **ret)
{
        json_auto_t *o = NULL;
        ssize_t n;

        n = getline(&a->line, &a->allocated, a->stream);
        if (n < 0)
                return cli_fail(c, STATUS_FAILED, "the agent closed the connection");
        o = json_loadb(a->line, (size_t)n, 0, NULL);
        if (!json_is_object(o))
                return cli_fail(c, STATUS_FAILED, "the agent's answer is no JSON object");
        if (!json_is_true(json_object_get(o, "ok")))
                return cli_fail(c, STATUS_FAILED, "%s", json_text(o, "error"));
        *ret = TAKE_PTR(o);
        return STATUS_OK;
}

int agent_ask(const struct cli *c, json_t *request, json_t **ret)
{
        _cleanup_(agent_closep) struct agent_reader *a = NULL;
        int status;

        status = agent_open(c, request, &a);
        return status == STATUS_OK ? agent_next(c, a, ret) : status;
}

int agent_ask_status(const struct cli *c, json_t **ret)
{
        return agent_ask(c, json_pack("{s:s}", "verb", "status"), ret);
}
