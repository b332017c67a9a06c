/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One thread beside the event loop, for reads that may take long or never end. A job runs in
 * the thread, then is handed back in the loop. Waits without waking up. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

struct worker_job { /* first member of the owner's job */
        struct worker_job *next;
};

struct worker_options {
        void (*run)(struct worker_job *job, const atomic_bool *stop); /* in the thread */
        void (*done)(struct worker_job *job, void *userdata); /* in the loop; owns the job */
        void (*drop)(struct worker_job *job); /* at the end, instead of done */
        void *userdata;
        size_t max; /* jobs waiting or running */
};

struct worker;

int worker_new(sd_event *event, const struct worker_options *o, struct worker **ret);
/* Waits a second for the job that runs; a job that hangs is left behind with its thread. */
struct worker *worker_free(struct worker *w);
/* Takes the job over. -EBUSY too many (the job stays the caller's). */
int worker_submit(struct worker *w, struct worker_job *job);
