/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Children that look at processes and their files in the agent's place. A file system, or a process whose memory is locked,
 * lets a reader wait for as long as its owner likes, and SIGKILL does not end that (fs/fuse/dev.c, request_wait_answer()):
 * what waits is a child, which is left behind, and another one goes on. A child knows what its parent knew when it was made. */
#include <systemd/sd-event.h>
#include "agent/classify/classify.h"

#define LOOKER_QUEUE_MAX 256 /* starts that wait, in each lane */
#define LOOKER_STUCK_MAX 8 /* children that were left behind for one person's programs */

enum lane {
        LANE_QUICK, /* what takes some microseconds */
        LANE_SLOW, /* whole files */
        LANE_FOREIGN, /* what a user has in hand: others' starts do not wait for it */
        _LANE_MAX,
};

struct looker_options {
        /* In the child. */
        int (*look)(enum lane lane, struct fact *f, struct classification *c, void *userdata);
        /* In the loop, what looker_ask() has not answered; r is look()'s. */
        void (*done)(int r, struct fact *f, const struct classification *c, void *userdata);
        void *userdata;
        const uint64_t *patience_us; /* by lane; NULL: a second, a minute, ten seconds */
};

struct looker;

int looker_new(sd_event *event, const struct looker_options *o, struct looker **ret);
struct looker *looker_free(struct looker *l); /* returns NULL */
/* 0: *f and *c are look()'s, or c->gone since too much waits for this person's programs already; 1: done() later. What is quick
 * is waited for a little. -EBUSY too many wait. */
int looker_ask(struct looker *l, enum lane lane, struct fact *f, struct classification *c);
/* What look() knows has changed. */
void looker_renew(struct looker *l);
