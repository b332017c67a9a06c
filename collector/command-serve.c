/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "collector/api/api.h"
#include "collector/command.h"
#include "record/note.h"
#include "collector/net/tls.h"

#define STOP_CHECK_MS 50
#define STOP_MAX_MS   5000
#define STOP_LATE_S   20 /* of all of the end, whatever still waits, for a database or a name server */

struct server {
        struct config config;
        struct loop *loop;
        struct store *store;
        struct api *api;
        struct forward *forward;
        struct http_config agents_config, page_config;
        struct http_server *agents, *page;
        uint64_t stopping_ms;
        char origin[NOTE_NAME_MAX];
};

/* tlog-tiles, "Parameters": where the log is found, without the scheme. */
static void origin_format(const struct config *c, char ret[static NOTE_NAME_MAX])
{
        char host[NOTE_NAME_MAX - 32] = "localhost";

        (void)gethostname(host, sizeof(host) - 1);
        snprintf(ret, NOTE_NAME_MAX, "%s%s/log", host, strrchr(c->page, ':'));
}

/* sd_notify(3), without the library: a datagram to the socket that systemd names. */
static void notify(const char *state)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        const char *path = getenv("NOTIFY_SOCKET");
        size_t n = path ? strlen(path) : 0;
        _cleanup_fd_ int fd = -1;

        if (n < 2 || n >= sizeof(a.sun_path))
                return;
        memcpy(a.sun_path, path, n);
        if (*path == '@')
                a.sun_path[0] = 0;
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
                log_errno(LOG_WARNING, errno, "cannot notify '%s', ignoring", path);
}

static void on_stop_check(void *userdata)
{
        struct server *s = userdata;
        size_t n = http_server_n_connections(s->agents) + http_server_n_connections(s->page);

        if ((n == 0 && api_is_idle(s->api)) || loop_now_ms(s->loop) > s->stopping_ms + STOP_MAX_MS)
                loop_stop(s->loop);
}

/* Of what is not committed nothing was acknowledged. */
static void on_stop_late(int number)
{
        static const char text[] = "onchannel-collector: not everything came to an end in time: it was broken off\n";

        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        _exit(EXIT_FAILURE);
}

static void on_stop_signal(void *userdata)
{
        struct server *s = userdata;

        if (s->stopping_ms)
                return;
        log_line(LOG_INFO, "stopping");
        notify("STOPPING=1");
        s->stopping_ms = loop_now_ms(s->loop);
        signal(SIGALRM, on_stop_late);
        alarm(STOP_LATE_S);
        api_stop(s->api);
        http_server_stop(s->agents);
        http_server_stop(s->page);
        if (loop_add_timer(s->loop, STOP_CHECK_MS, on_stop_check, s) < 0)
                loop_stop(s->loop);
}

static int listener_open(struct server *s, const struct http_config *c, const char *client_ca,
                         struct http_server **ret, struct diag *reterr)
{
        const struct tls_config tls_config = {s->config.server, s->config.server_key, client_ca};
        const char *address = client_ca ? s->config.agents : s->config.page;
        SSL_CTX *tls = NULL;
        int r = tls_context_new(&tls_config, &tls, reterr);

        if (r < 0)
                return r;
        r = http_server_new(s->loop, c, address, tls, ret, reterr);
        SSL_CTX_free(tls);
        if (r == 0)
                log_line(LOG_INFO, "%s: listening on %s", c->name, http_server_address(*ret));
        return r;
}

static int server_open(struct server *s, const char *dir, struct diag *reterr)
{
        struct api_options options = {0};
        sigset_t signals;
        int r = config_load(dir, &s->config, reterr);

        if (r == 0)
                r = store_open(s->config.store, 0, &s->store, reterr);
        if (r == 0)
                r = loop_new(&s->loop);
        if (r < 0)
                return r;
        origin_format(&s->config, s->origin);
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        options = (struct api_options){
                .loop = s->loop,
                .store = s->store,
                .device_ca = s->config.device_ca,
                .device_ca_key = s->config.device_ca_key,
                .server_ca = s->config.server_ca,
                .next_ca = s->config.next_ca,
                .lifetime_s = s->config.lifetime_s,
                .grace_s = s->config.grace_s,
                .firm = &s->config.firm,
                .database = s->config.store,
                .log_key = s->config.log_key,
                .log_origin = s->origin,
                .metrics_token = s->config.metrics_token,
                .exemption_key = s->config.exemption_key,
        };
        for (size_t i = 0; i < s->config.forward.n; i++)
                options.receivers[i] = s->config.forward.items[i].name;
        r = loop_add_signals(s->loop, &signals, on_stop_signal, s);
        if (r == 0)
                r = api_new(&options, &s->api, reterr);
        if (r < 0)
                return r;
        api_agents_config(s->api, &s->agents_config);
        api_page_config(s->api, &s->page_config);
        if (s->config.agents_max) {
                s->agents_config.connections_max = s->config.agents_max;
                s->agents_config.strangers_max = s->config.agents_max / 4 + 1;
        }
        r = listener_open(s, &s->agents_config, s->config.device_ca, &s->agents, reterr);
        if (r == 0)
                r = listener_open(s, &s->page_config, NULL, &s->page, reterr);
        if (r < 0)
                return r;
        api_set_servers(s->api, s->agents, s->page);
        return forward_start(s->config.store, &s->config.forward, &s->forward, reterr);
}

static void server_done(struct server *s)
{
        forward_stop(s->forward);
        http_server_free(s->agents);
        http_server_free(s->page);
        api_free(s->api);
        loop_free(s->loop);
        store_free(s->store);
        config_done(&s->config);
}

int command_serve(int argc, char **argv)
{
        _cleanup_(server_done) struct server s = {0};
        struct rlimit files;
        struct diag d = {0};
        int r;

        if (argc != 2)
                return fail_usage("serve needs one folder");
        signal(SIGPIPE, SIG_IGN);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &files);
        }
        r = server_open(&s, argv[1], &d);
        if (r < 0)
                return *d.text ? fail(&d) : fail_with("cannot start: %s", strerror(-r));
        notify("READY=1");
        r = loop_run(s.loop);
        return r < 0 ? fail_with("the event loop failed: %s", strerror(-r)) : EXIT_SUCCESS;
}
