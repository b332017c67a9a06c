/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One start whose files are read in the thread of identify.c. */
#include <stdatomic.h>
#include "content/content.h"
#include "agent/classify/internal.h"
#include "agent/classify/worker.h"

#define LOOK_MAPPED_MAX        8
#define LOOK_CHROMIUM_SIZE_MIN (32u << 20) /* Chromium 120 and Electron 28 have 150 MB and more */

enum look_step {
        LOOK_AT_EXE, /* what the process runs */
        LOOK_AT_FILE, /* what its arguments name, or the archive beside it */
};

struct look {
        struct worker_job job;
        enum look_step step;
        struct fact fact;
        struct classification result;
        int proc; /* /proc/PID */
        enum host host;
        bool want_sha256;
        struct content exe;
        bool has_exe; /* read already */
        char file[FACT_PATH_MAX];
        bool is_beside; /* file is the archive beside it, not an argument */
        bool is_chromium; /* by what lies beside it, whatever it is called */
        struct content contents[LOOK_MAPPED_MAX]; /* of file; of all that a loader has mapped */
        size_t n_contents;
};

/* By where and how large it is: worth a look at what lies beside it. */
bool look_may_be_chromium(const struct look *l);
void look_run(struct worker_job *job, const atomic_bool *stop);
void look_free(struct worker_job *job);
