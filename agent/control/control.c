/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/control/control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "agent/control/notices.h"
#include "base/buf.h"
#include "base/cleanup.h"

#define WRITE_WAIT_MS    10000
#define MY_DATA_SECONDS  60
#define BACKLOG          1024 /* who connects without waiting, as many at once, is turned away by the kernel */
#define ACCEPTED_AT_ONCE 32
/* Whoever asks and asks keeps nobody waiting, neither root nor records. */
#define PRIORITY_ROOT   SD_EVENT_PRIORITY_NORMAL
#define PRIORITY_OTHERS SD_EVENT_PRIORITY_IDLE

struct client {
        struct control *control;
        struct client *next;
        sd_event_source *io;
        sd_event_source *child; /* a my-data answer is being written */
        int fd;
        uid_t uid;
        bool following;
        bool ended; /* no more requests: end of file, or one that was too long */
        size_t in_size;
        char in[CONTROL_LINE_MAX + 1];
        struct buf out;
};

struct control {
        sd_event *event;
        sd_event_source *listener;
        char *path;
        int fd;
        struct control_handlers handlers;
        struct notices *notices;
        struct client *clients;
};

static struct client *client_free(struct client *c)
{
        if (!c)
                return NULL;
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->child);
        fd_close(&c->fd);
        buf_done(&c->out);
        free(c);
        return NULL;
}

static void client_drop(struct client *c)
{
        for (struct client **p = &c->control->clients; *p; p = &(*p)->next)
                if (*p == c) {
                        *p = c->next;
                        break;
                }
        client_free(c);
}

/* Sends what the socket takes; -EAGAIN some is left. */
static int client_flush(struct client *c)
{
        while (c->out.size > 0) {
                ssize_t n = send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0)
                        return errno == EINTR ? -EAGAIN : -errno;
                buf_consume(&c->out, (size_t)n);
        }
        return 0;
}

/* Flushes and waits for the right events. -ECONNRESET: the client is of no more use. */
static int client_settle(struct client *c)
{
        uint32_t events = 0;
        int r;

        if (!c->child) {
                r = client_flush(c);
                if (r < 0 && r != -EAGAIN)
                        return r;
                if (buf_error(&c->out) < 0 || c->out.size > CONTROL_OUTPUT_MAX)
                        return -ECONNRESET;
                if (c->ended && c->out.size == 0 && !c->following)
                        return -ECONNRESET;
                if (c->out.size > 0)
                        events |= EPOLLOUT;
                if (!c->ended && c->out.size == 0)
                        events |= EPOLLIN;
        }
        return sd_event_source_set_io_events(c->io, events);
}

static void client_error(struct client *c, const char *sentence)
{
        json_auto_t *o = json_pack("{s:b,s:s}", "ok", 0, "error", sentence);
        _cleanup_free_ char *text = json_dumps(o, JSON_COMPACT);

        buf_addf(&c->out, "%s\n", text ? text : "{\"ok\":false,\"error\":\"out of memory\"}");
}

static void answer_object(struct client *c, const struct control_request *q)
{
        char error[CONTROL_ERROR_MAX] = "out of memory";
        json_auto_t *o = c->control->handlers.answer(q, c->uid, error, c->control->handlers.userdata);
        json_auto_t *whole = json_pack("{s:b}", "ok", 1);
        _cleanup_free_ char *text = NULL;

        if (o && whole && json_object_update(whole, o) >= 0)
                text = json_dumps(whole, JSON_COMPACT);
        if (text)
                buf_addf(&c->out, "%s\n", text);
        else
                client_error(c, error);
}

static void answer_notices(struct client *c, const struct control_request *q)
{
        _cleanup_free_ char *list = notices_list(c->control->notices, c->uid);

        if (!list) {
                client_error(c, "out of memory");
                return;
        }
        buf_addf(&c->out, "{\"ok\":true,\"notices\":%s}\n", list);
        c->following = q->follow;
}

int control_write(int fd, const void *data, size_t size)
{
        const char *p = data;

        while (size > 0) {
                struct pollfd wait = {.fd = fd, .events = POLLOUT};
                ssize_t n = send(fd, p, size, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n >= 0) {
                        p += n;
                        size -= (size_t)n;
                        continue;
                }
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
                if (poll(&wait, 1, WRITE_WAIT_MS) == 0)
                        return -ETIMEDOUT;
        }
        return 0;
}

static int write_my_data(const struct client *c)
{
        static const char head[] = "{\"ok\":true,\"records\":", tail[] = "}\n";
        int r;

        alarm(MY_DATA_SECONDS);
        r = control_write(c->fd, head, strlen(head));
        if (r >= 0)
                r = c->control->handlers.my_data(c->fd, c->uid, c->control->handlers.userdata);
        if (r >= 0)
                r = control_write(c->fd, tail, strlen(tail));
        return r;
}

static int on_client(sd_event_source *s, int fd, uint32_t revents, void *userdata);

static int64_t priority_of(const struct client *c)
{
        return c->uid == 0 ? PRIORITY_ROOT : PRIORITY_OTHERS;
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
        struct client *c = userdata;

        c->child = sd_event_source_disable_unref(c->child);
        if (si->si_code != CLD_EXITED || si->si_status != 0)
                client_drop(c); /* half an answer may be out already */
        else
                on_client(c->io, c->fd, 0, c);
        return 0;
}

/* Reading the spool may take a while: a child does it, so that the loop never waits. */
static void answer_my_data(struct client *c)
{
        unsigned running = 0, own = 0;
        pid_t pid;

        for (const struct client *o = c->control->clients; o; o = o->next) {
                running += o->child != NULL;
                own += o->child != NULL && o->uid == c->uid;
        }
        if (own >= CONTROL_MY_DATA_PER_USER || (c->uid != 0 && running >= CONTROL_MY_DATA_MAX) ||
            client_flush(c) < 0) {
                client_error(c, "busy, ask again");
                return;
        }
        pid = fork();
        if (pid == 0) {
                sigset_t none;

                sigemptyset(&none);
                sigprocmask(SIG_SETMASK, &none, NULL);
                _exit(write_my_data(c) < 0 ? 1 : 0);
        }
        if (pid < 0 || sd_event_add_child(c->control->event, &c->child, pid, WEXITED, on_child, c) < 0) {
                client_error(c, "cannot start a reader");
                return;
        }
        sd_event_source_set_child_process_own(c->child, 1);
        sd_event_source_set_priority(c->child, priority_of(c));
}

static void client_request(struct client *c, const char *line, size_t size)
{
        char error[CONTROL_ERROR_MAX];
        struct control_request q;

        if (control_request_parse(line, size, &q, error) < 0 || control_request_allowed(&q, c->uid, error) < 0) {
                client_error(c, error);
                return;
        }
        switch (q.verb) {
        case CONTROL_STATUS:
        case CONTROL_WHY:
        case CONTROL_RELOAD:
        case CONTROL_EXEMPTION:
        case CONTROL_REQUEST:
                answer_object(c, &q);
                return;
        case CONTROL_NOTICES:
                answer_notices(c, &q);
                return;
        case CONTROL_MY_DATA:
                answer_my_data(c);
                return;
        case _CONTROL_VERB_MAX:
                return;
        }
}

/* Requests are answered in order: none is taken while an answer waits for its reader. */
static void client_requests(struct client *c)
{
        for (;;) {
                char *end = memchr(c->in, '\n', c->in_size);
                size_t size;

                if (c->child || c->out.size > 0)
                        return;
                if (!end && c->in_size > CONTROL_LINE_MAX) {
                        client_error(c, "a request has at most 4096 bytes");
                        c->in_size = 0;
                        c->ended = true;
                }
                if (!end)
                        return;
                size = (size_t)(end - c->in);
                client_request(c, c->in, size);
                c->in_size -= size + 1;
                memmove(c->in, end + 1, c->in_size);
                if (!c->child)
                        client_flush(c);
        }
}

/* No more than one line: then others have their turn. */
static void client_read(struct client *c)
{
        char *to = c->in + c->in_size, *end = NULL;
        ssize_t n = recv(c->fd, to, sizeof(c->in) - c->in_size, MSG_DONTWAIT | MSG_PEEK);

        if (n > 0)
                end = memchr(to, '\n', (size_t)n);
        if (n > 0)
                n = recv(c->fd, to, end ? (size_t)(end + 1 - to) : (size_t)n, MSG_DONTWAIT);
        if (n > 0)
                c->in_size += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                c->ended = true;
}

static int on_client(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct client *c = userdata;

        if (revents & (EPOLLHUP | EPOLLERR)) {
                client_drop(c);
                return 0;
        }
        if (!c->child) {
                client_flush(c);
                if (revents & EPOLLIN)
                        client_read(c);
                client_requests(c);
        }
        if (client_settle(c) < 0)
                client_drop(c);
        return 0;
}

static bool has_room(const struct control *c, uid_t uid)
{
        unsigned all = 0, own = 0;

        for (const struct client *o = c->clients; o; o = o->next) {
                all++;
                own += o->uid == uid;
        }
        if (uid == 0)
                return all < CONTROL_CLIENTS_MAX + CONTROL_CLIENTS_ROOT;
        return all < CONTROL_CLIENTS_MAX && own < CONTROL_CLIENTS_PER_USER;
}

static int client_new(struct control *control, int fd, uid_t uid)
{
        struct client *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return -ENOMEM;
        c->control = control;
        c->fd = -1;
        c->uid = uid;
        r = sd_event_add_io(control->event, &c->io, fd, EPOLLIN, on_client, c);
        if (r >= 0)
                r = sd_event_source_set_priority(c->io, priority_of(c));
        if (r < 0) {
                client_free(c);
                return r;
        }
        c->fd = fd;
        c->next = control->clients;
        control->clients = c;
        return 0;
}

static bool accept_one(struct control *c, int fd)
{
        static const char full[] = "{\"ok\":false,\"error\":\"too many connections\"}\n";
        struct ucred peer;
        socklen_t size = sizeof(peer);
        _cleanup_fd_ int one = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (one < 0 || getsockopt(one, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return false;
        if (!has_room(c, peer.uid))
                (void)send(one, full, strlen(full), MSG_NOSIGNAL | MSG_DONTWAIT);
        else if (client_new(c, one, peer.uid) >= 0)
                TAKE_FD(one);
        return true;
}

static int on_connect(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        for (int i = 0; i < ACCEPTED_AT_ONCE && accept_one(userdata, fd); i++)
                ;
        return 0;
}

static int listen_on(const char *path)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        _cleanup_fd_ int fd = -1;

        if (strlen(path) >= sizeof(a.sun_path))
                return -ENAMETOOLONG;
        strcpy(a.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(path, 0666) < 0 || listen(fd, BACKLOG) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int control_new(const char *path, struct sd_event *event, const struct control_handlers *h, struct control **ret)
{
        struct control *c = calloc(1, sizeof(*c));
        int r = -ENOMEM;

        if (!c)
                return r;
        c->fd = -1;
        c->event = sd_event_ref(event);
        c->handlers = *h;
        c->path = strdup(path);
        if (c->path)
                r = notices_new(&c->notices);
        if (r >= 0)
                r = c->fd = listen_on(path);
        if (r >= 0)
                r = sd_event_add_io(event, &c->listener, c->fd, EPOLLIN, on_connect, c);
        if (r >= 0)
                r = sd_event_source_set_priority(c->listener, PRIORITY_OTHERS);
        if (r < 0) {
                control_free(c);
                return r;
        }
        *ret = c;
        return 0;
}

struct control *control_free(struct control *c)
{
        if (!c)
                return NULL;
        while (c->clients)
                client_drop(c->clients);
        sd_event_source_disable_unref(c->listener);
        if (c->fd >= 0)
                unlink(c->path);
        fd_close(&c->fd);
        notices_free(c->notices);
        sd_event_unref(c->event);
        free(c->path);
        free(c);
        return NULL;
}

int control_notice(struct control *c, uid_t uid, json_t *notice)
{
        _cleanup_free_ char *text = json_dumps(notice, JSON_COMPACT);
        int r;

        if (!text)
                return -ENOMEM;
        r = notices_add(c->notices, uid, text);
        for (struct client *o = c->clients, *next; o; o = next) {
                next = o->next;
                if (!o->following || (o->uid != 0 && o->uid != uid))
                        continue;
                buf_addf(&o->out, "{\"ok\":true,\"notice\":%s}\n", text);
                if (client_settle(o) < 0)
                        client_drop(o);
        }
        return r;
}
