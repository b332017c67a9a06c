/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/classify/looker.h"
#include "base/cleanup.h"

#define WAIT_MS          50 /* for a quick answer */
#define ANSWERS_PER_TURN 64
#define CHILD_FD         3

struct job {
        struct job *next;
        struct fact fact;
};

struct answer {
        int r;
        struct fact fact;
        struct classification c;
};

struct child { /* until it has ended */
        struct child *next;
        struct desk *desk;
        sd_event_source *ended;
        pid_t pid;
        bool is_stuck;
        uint32_t uid; /* whose program it stood still at */
};

struct desk {
        struct looker *looker;
        enum lane lane;
        int fd;
        struct child *child; /* NULL: none is at work */
        sd_event_source *io, *late;
        struct job *first, **end; /* the child is at the first one */
        struct job *unsent; /* it has those before */
        size_t n;
        bool is_slow; /* the last answer that was waited for has not come yet */
};

struct looker {
        struct looker_options o;
        sd_event *event;
        struct desk desks[_LANE_MAX];
        struct child *children;
};

static _Noreturn void run_child(int fd, const struct looker_options *o, enum lane lane)
{
        struct answer a;
        sigset_t none;

        /* no connection, lock or ring of the agent's is held by what may stand still */
        if (dup2(fd, CHILD_FD) < 0 || close_range(CHILD_FD + 1, ~0u, 0) < 0)
                _exit(1);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "onchannel-look");
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        while (recv(CHILD_FD, &a.fact, sizeof(a.fact), 0) == sizeof(a.fact)) {
                a.c = (struct classification){};
                a.r = o->look(lane, &a.fact, &a.c, o->userdata);
                if (send(CHILD_FD, &a, sizeof(a), MSG_NOSIGNAL) != sizeof(a))
                        break;
        }
        _exit(0);
}

static struct job *desk_take(struct desk *d)
{
        struct job *j = d->first;

        d->first = j->next;
        if (!d->first)
                d->end = &d->first;
        if (d->unsent == j)
                d->unsent = j->next;
        d->n--;
        return j;
}

/* The child is let go; what it has not answered stays. */
static void desk_clear(struct desk *d)
{
        d->io = sd_event_source_disable_unref(d->io);
        sd_event_source_set_enabled(d->late, SD_EVENT_OFF);
        fd_close(&d->fd);
        if (d->child)
                kill(d->child->pid, SIGKILL); /* not waited for yet, so it is this one */
        d->child = NULL;
        d->unsent = d->first;
}

static void child_free(struct child *c)
{
        sd_event_source_disable_unref(c->ended);
        free(c);
}

static void desk_go_on(struct desk *d);

static int on_ended(sd_event_source *s, const siginfo_t *si, void *userdata)
{
        struct child *c = userdata, **p = &c->desk->looker->children;
        struct desk *d = c->desk;

        while (*p != c)
                p = &(*p)->next;
        *p = c->next;
        if (d->child == c) { /* nobody told it to: not with this one again */
                d->child = NULL;
                desk_clear(d);
                if (d->first)
                        free(desk_take(d));
                desk_go_on(d);
        }
        child_free(c);
        return 0;
}

static int desk_be_patient(struct desk *d)
{
        static const uint64_t patience_us[_LANE_MAX] = {1000000, 60000000, 10000000};
        const uint64_t *patience = d->looker->o.patience_us ? d->looker->o.patience_us : patience_us;

        if (!d->first)
                return sd_event_source_set_enabled(d->late, SD_EVENT_OFF);
        sd_event_source_set_time_relative(d->late, patience[d->lane]);
        return sd_event_source_set_enabled(d->late, SD_EVENT_ONESHOT);
}

/* What the child has room for: one that has to be told each time waits for a processor each time. */
static void desk_send(struct desk *d)
{
        for (; d->unsent; d->unsent = d->unsent->next)
                if (send(d->fd, &d->unsent->fact, sizeof(d->unsent->fact), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        break; /* a child that has ended is noticed by on_ended() */
}

static bool desk_receive(struct desk *d, struct answer *ret)
{
        if (recv(d->fd, ret, sizeof(*ret), MSG_DONTWAIT) != sizeof(*ret))
                return false;
        free(desk_take(d));
        d->is_slow = false;
        desk_send(d);
        desk_be_patient(d);
        return true;
}

static unsigned desk_read(struct desk *d)
{
        struct looker *l = d->looker;
        struct answer a;
        unsigned n = 0;

        for (; n < ANSWERS_PER_TURN && d->child && desk_receive(d, &a); n++)
                l->o.done(a.r, &a.fact, &a.c, l->o.userdata);
        return n;
}

static int on_answer(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        if (desk_read(userdata) == 0 && revents & EPOLLHUP)
                sd_event_source_set_enabled(s, SD_EVENT_OFF); /* on_ended() */
        return 0;
}

static int desk_start(struct desk *d)
{
        struct looker *l = d->looker;
        struct child *c = calloc(1, sizeof(*c));
        int fds[2], r;

        if (!c)
                return -ENOMEM;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
                r = -errno;
                free(c);
                return r;
        }
        d->fd = fds[0];
        _cleanup_fd_ int theirs = fds[1];
        c->desk = d;
        c->pid = fork();
        if (c->pid == 0)
                run_child(theirs, &l->o, d->lane);
        r = c->pid < 0 ? -errno : sd_event_add_child(l->event, &c->ended, c->pid, WEXITED, on_ended, c);
        if (r >= 0)
                r = sd_event_add_io(l->event, &d->io, d->fd, EPOLLIN, on_answer, d);
        if (r >= 0)
                r = sd_event_source_set_priority(d->io, SD_EVENT_PRIORITY_IMPORTANT);
        d->child = c->pid > 0 ? c : NULL;
        if (r < 0) {
                desk_clear(d);
                child_free(c);
                return r;
        }
        c->next = l->children;
        l->children = c;
        return 0;
}

static void desk_go_on(struct desk *d)
{
        if (d->first && !d->child && desk_start(d) < 0)
                while (d->first) /* no memory for a child: the next walk looks at it */
                        free(desk_take(d));
        desk_send(d);
        desk_be_patient(d);
}

static unsigned count_stuck(const struct looker *l, uint32_t uid)
{
        unsigned n = 0;

        for (const struct child *c = l->children; c; c = c->next)
                n += c->is_stuck && c->uid == uid;
        return n;
}

static void desk_put(struct desk *d, struct job *j)
{
        j->next = NULL;
        *d->end = j;
        d->end = &j->next;
        if (!d->unsent)
                d->unsent = j;
        d->n++;
}

/* It goes where nobody else waits for it, or nowhere. */
static void desk_pass_on(struct desk *d, struct job *j)
{
        struct desk *foreign = &d->looker->desks[LANE_FOREIGN];

        if (foreign->n >= LOOKER_QUEUE_MAX || count_stuck(d->looker, j->fact.uid) >= LOOKER_STUCK_MAX)
                free(j);
        else
                desk_put(foreign, j);
}

/* The child stands still, or was slow for want of processors: what it had is tried once more, with all that this person
 * has started. */
static int on_late(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct desk *d = userdata, *foreign = &d->looker->desks[LANE_FOREIGN];
        struct job *late = desk_take(d);
        bool was_idle = foreign->n == 0;
        uint32_t uid = late->fact.uid;

        d->child->is_stuck = true;
        d->child->uid = uid;
        desk_clear(d);
        if (d == foreign)
                free(late);
        else
                desk_pass_on(d, late);
        for (size_t n = d->n; n > 0 && (d != foreign || count_stuck(d->looker, uid) >= LOOKER_STUCK_MAX); n--) {
                struct job *j = desk_take(d);

                if (j->fact.uid == uid)
                        desk_pass_on(d, j);
                else
                        desk_put(d, j);
        }
        desk_go_on(d);
        if (d != foreign && was_idle)
                desk_go_on(foreign);
        return 0;
}

static bool desk_wait(struct desk *d)
{
        struct pollfd wait = {.fd = d->fd, .events = POLLIN};

        d->is_slow = poll(&wait, 1, WAIT_MS) <= 0;
        return !d->is_slow;
}

/* What takes no time is answered at once, so that what follows from it is in order. */
static int desk_wait_for(struct desk *d, struct fact *f, struct classification *c)
{
        struct answer a;

        if (!desk_wait(d) || !desk_receive(d, &a))
                return 1;
        *f = a.fact;
        *c = a.c;
        return a.r;
}

/* In a flood of starts an answer makes room, unless the child stands still. */
static bool desk_has_room(struct desk *d)
{
        if (d->n < LOOKER_QUEUE_MAX)
                return true;
        if (d->lane != LANE_QUICK || d->is_slow || !desk_wait(d))
                return false;
        desk_read(d);
        return d->n < LOOKER_QUEUE_MAX;
}

int looker_ask(struct looker *l, enum lane lane, struct fact *f, struct classification *c)
{
        unsigned stuck = count_stuck(l, f->uid);
        struct desk *d = &l->desks[stuck ? LANE_FOREIGN : lane];
        struct job *j;

        if (stuck >= LOOKER_STUCK_MAX) {
                c->gone = true;
                return 0;
        }
        j = desk_has_room(d) ? malloc(sizeof(*j)) : NULL;
        if (!j)
                return -EBUSY;
        if (!d->child && desk_start(d) < 0) {
                free(j);
                return -EBUSY;
        }
        j->fact = *f;
        desk_put(d, j);
        desk_send(d);
        if (d->n > 1)
                return 1;
        desk_be_patient(d);
        return d->lane == LANE_QUICK ? desk_wait_for(d, f, c) : 1;
}

void looker_renew(struct looker *l)
{
        for (enum lane i = 0; i < _LANE_MAX; i++) {
                desk_clear(&l->desks[i]);
                desk_go_on(&l->desks[i]);
        }
}

int looker_new(sd_event *event, const struct looker_options *o, struct looker **ret)
{
        struct looker *l = calloc(1, sizeof(*l));
        int r = 0;

        if (!l)
                return -ENOMEM;
        l->o = *o;
        l->event = sd_event_ref(event);
        for (enum lane i = 0; i < _LANE_MAX; i++) {
                struct desk *d = &l->desks[i];

                *d = (struct desk){.looker = l, .lane = i, .fd = -1, .end = &d->first};
                if (r >= 0)
                        r = sd_event_add_time_relative(event, &d->late, CLOCK_MONOTONIC, 0, 0, on_late, d);
                if (r >= 0)
                        r = sd_event_source_set_enabled(d->late, SD_EVENT_OFF);
        }
        if (r < 0) {
                looker_free(l);
                return r;
        }
        *ret = l;
        return 0;
}

struct looker *looker_free(struct looker *l)
{
        if (!l)
                return NULL;
        for (enum lane i = 0; i < _LANE_MAX; i++) {
                struct desk *d = &l->desks[i];

                desk_clear(d);
                sd_event_source_disable_unref(d->late);
                while (d->first)
                        free(desk_take(d));
        }
        for (struct child *c; (c = l->children);) {
                l->children = c->next;
                child_free(c);
        }
        sd_event_unref(l->event);
        free(l);
        return NULL;
}
