/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#define WATCH_AGAIN_MS  10000 /* folders that the daemon has not made yet */
#define SLEEP_MIN_MS    1000
#define STATUS_DELAY_MS 1500 /* several changes are one report; people watch a rollout */

struct loop {
        struct uplink *uplink;
        int inotify_fd;
        int signal_fd;
        int clock_fd;
        uint64_t slept_ms;
        bool watching; /* all folders */
        bool told; /* that the device is not enrolled */
        bool stop;
};

static int watch(struct loop *l, const char *parent, const char *name, uint32_t mask)
{
        _cleanup_free_ char *path = format_new("%s%s", parent, name);

        if (!path)
                return -ENOMEM;
        return inotify_add_watch(l->inotify_fd, path, mask | IN_ONLYDIR) < 0 ? -errno : 0;
}

static void add_watches(struct loop *l)
{
        const struct uplink_config *c = &l->uplink->config;

        l->watching = watch(l, c->state, "/spool", IN_MODIFY) == 0 &&
                      watch(l, c->state, "/uplink", IN_MOVED_TO | IN_CLOSE_WRITE) == 0 &&
                      watch(l, c->runtime, "", IN_MOVED_TO | IN_CLOSE_WRITE) == 0;
}

static bool is_enrolled(struct loop *l)
{
        _cleanup_free_ char *path = format_new("%s/uplink/cert.pem", l->uplink->config.state);
        bool enrolled = path && access(path, R_OK) == 0;

        if (!enrolled && !l->told)
                log_line(LOG_WARNING, "this device is not enrolled yet: run 'onchannel enrol'");
        l->told = !enrolled;
        return enrolled;
}

static void on_change(struct loop *l, const char *name)
{
        struct job *jobs = l->uplink->jobs;

        if (strcmp(name, "status.json") == 0) {
                job_kick(&jobs[JOB_STATUS], STATUS_DELAY_MS);
        } else if (strcmp(name, "cert.pem") == 0) {
                for (size_t i = 0; i < _JOB_MAX; i++)
                        jobs[i].due_ms = jobs[i].failures = 0;
        } else {
                const char *dot = strrchr(name, '.');

                if (dot && strcmp(dot, ".seg") == 0)
                        job_kick(&jobs[JOB_REPORTS], 0);
        }
}

static void read_inotify(struct loop *l)
{
        char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        ssize_t n;

        while ((n = read(l->inotify_fd, buf, sizeof(buf))) > 0)
                for (char *p = buf; p < buf + n;) {
                        const struct inotify_event *e = (const struct inotify_event *)p;

                        if (e->mask & IN_Q_OVERFLOW)
                                for (size_t i = 0; i < _JOB_MAX; i++)
                                        job_kick(&l->uplink->jobs[i], 0);
                        if (e->mask & IN_IGNORED) /* the folder was removed */
                                l->watching = false;
                        if (e->len > 0)
                                on_change(l, e->name);
                        p += sizeof(*e) + e->len;
                }
}

static void start_jobs(struct loop *l)
{
        uint64_t now = clock_boottime_ms();

        for (size_t i = 0; i < _JOB_MAX; i++) {
                struct job *j = &l->uplink->jobs[i];
                char reason[UPLINK_ERROR_MAX];
                int r;

                if (j->easy || j->due_ms > now)
                        continue;
                j->wanted_ms = 0;
                r = j->start(l->uplink, j);
                if (r < 0) {
                        snprintf(reason, sizeof(reason), "cannot start: %s", strerror(-r));
                        job_failed(j, reason);
                }
        }
}

static void finish_jobs(struct uplink *u)
{
        CURLMsg *message;
        int left;

        while ((message = curl_multi_info_read(u->multi, &left))) {
                CURLcode code = message->data.result;
                struct job *j = NULL;

                if (message->msg != CURLMSG_DONE)
                        continue;
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &j);
                curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &j->response.status);
                curl_multi_remove_handle(u->multi, j->easy);
                contact_note(u, &j->response, code);
                j->done(u, j, code);
                job_finish(j);
        }
}

static int wait_ms(const struct loop *l, bool enrolled)
{
        uint64_t now = clock_boottime_ms(), end = now + (l->watching && enrolled ? 3600000 : WATCH_AGAIN_MS);

        for (size_t i = 0; enrolled && i < _JOB_MAX; i++) {
                const struct job *j = &l->uplink->jobs[i];

                if (!j->easy && j->due_ms < end)
                        end = j->due_ms;
        }
        return end > now ? (int)(end - now) : 0;
}

/* Connections of before are dead, and nobody would hear of it for minutes; what waits, waited by the clock. */
static int wake_up(struct loop *l)
{
        const uint64_t slept_ms = clock_slept_ms();
        struct uplink *u = l->uplink;
        int r = clock_watch_again(l->clock_fd);

        if (r < 0 || slept_ms < l->slept_ms + SLEEP_MIN_MS)
                return r;
        l->slept_ms = slept_ms;
        uplink_disconnect(u);
        u->multi = curl_multi_init();
        for (size_t i = 0; i < _JOB_MAX; i++)
                u->jobs[i].due_ms = u->jobs[i].failures = 0;
        return u->multi ? 0 : -ENOMEM;
}

static int turn(struct loop *l)
{
        struct curl_waitfd fds[] = {{.fd = l->inotify_fd, .events = CURL_WAIT_POLLIN},
                                    {.fd = l->signal_fd, .events = CURL_WAIT_POLLIN},
                                    {.fd = l->clock_fd, .events = CURL_WAIT_POLLIN}};
        struct signalfd_siginfo si;
        bool enrolled = is_enrolled(l);
        int running;

        if (!l->watching)
                add_watches(l);
        if (enrolled)
                start_jobs(l);
        if (curl_multi_perform(l->uplink->multi, &running) != CURLM_OK)
                return -EIO;
        finish_jobs(l->uplink);
        if (curl_multi_poll(l->uplink->multi, fds, ELEMENTSOF(fds), wait_ms(l, enrolled), NULL) != CURLM_OK)
                return -EIO;
        read_inotify(l);
        l->stop = read(l->signal_fd, &si, sizeof(si)) == sizeof(si);
        return fds[2].revents ? wake_up(l) : 0;
}

int uplink_run(struct uplink *u)
{
        _cleanup_fd_ int inotify_fd = -1, signal_fd = -1, clock_fd = -1;
        struct loop l = {.uplink = u, .slept_ms = clock_slept_ms()};
        sigset_t signals;
        int r = 0;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        signal(SIGPIPE, SIG_IGN);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        l.signal_fd = signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
        l.inotify_fd = inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (signal_fd < 0 || inotify_fd < 0)
                return -errno;
        l.clock_fd = clock_fd = clock_watch_new();
        if (clock_fd < 0)
                return clock_fd;
        sd_notify(0, "READY=1");
        while (!l.stop && r == 0)
                r = turn(&l);
        sd_notify(0, "STOPPING=1");
        return r;
}
