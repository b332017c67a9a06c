/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What is read of one start's files. */
#include "content/content.h"
#include "agent/classify/internal.h"

#define LOOK_MAPPED_MAX        8
#define LOOK_FILES_MAX         16 /* that arguments name; a class path may be longer */
#define LOOK_LINKS_MAX         8
#define LOOK_CHROMIUM_SIZE_MIN (32u << 20) /* Chromium 120 and Electron 28 have 150 MB and more */

struct look {
        bool may_wait; /* for whole files, and for file systems in user space */
        struct fact fact;
        struct classification result;
        int proc; /* /proc/PID */
        enum host host;
        bool want_sha256;
        struct content exe;
        bool has_exe; /* read already */
        char file[FACT_PATH_MAX];
        char relative[FACT_PATH_MAX]; /* the same to the working folder, "" it is not */
        bool is_beside; /* file is the archive beside it, not an argument */
        bool is_chromium; /* by what lies beside it, whatever it is called */
        struct content contents[LOOK_MAPPED_MAX]; /* of file; of all that a loader has mapped */
        size_t n_contents;
};

/* By where and how large it is: worth a look at what lies beside it. */
bool look_may_be_chromium(const struct look *l);
void look_at_exe(struct look *l); /* what the process runs */
void look_at_memory(struct look *l); /* the same, without its file */
void look_at_file(struct look *l); /* what its arguments name, or the archive beside it */
