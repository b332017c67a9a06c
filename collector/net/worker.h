/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One thread beside the loop, for what takes long: passwords, searches. Jobs are done in order; each ends
 * on the loop. What a job holds belongs to the thread from worker_add() until `done`. */
#include "collector/net/loop.h"

#define WORKER_JOBS_MAX 128 /* that wait */

struct worker_job {
        void (*run)(struct worker_job *job); /* in the thread */
        void (*done)(struct worker_job *job); /* on the loop; frees the job */
        struct worker_job *next;
};

struct worker;
int worker_new(struct loop *l, struct worker **ret);
/* Ends the job under way, drops none: `done` is called for all. Before loop_free(); accepts NULL. */
void worker_free(struct worker *w);
/* -EAGAIN too many wait. */
int worker_add(struct worker *w, struct worker_job *job);
