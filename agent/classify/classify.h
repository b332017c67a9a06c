/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Tells which channel a started program belongs to, from /proc: path, argv, Flatpak and Snap
 * id from the cgroup. Arguments are compared and wiped, never kept or logged. Reads, never
 * writes. Runs as root. */
#include <stdbool.h>
#include <stdint.h>
#include "agent/fact.h"
#include "rules/rules.h"

struct classification {
        uint32_t entry; /* of the rule set; 0: innocent */
        uint16_t channel;
        /* The answer holds for this start, not for the executable, which must be asked about each
         * time: a browser, an interpreter, a shared runtime. Learn the process as `channel`, but
         * the program as channel 0 with look_at_argv. */
        bool look_at_argv;
        bool pending; /* that takes longer: identify_start() answers later */
        bool is_foreign; /* pending, and a user may have in hand how long it takes */
        bool is_unread; /* what the loader was told to run is not in memory yet, nor to be read: look again */
        bool gone; /* the process ended before it could be read: learn nothing */
};

/* Complete f->path (absolute, resolved; of a script the script's) and fill *ret. */
int classify_exec(const struct ruleset *r, struct fact *f, struct classification *ret);
/* Complete path and comm of a socket fact from /proc when they are empty, relative or cut. */
void classify_process(struct fact *f);
/* Application id in a cgroup path: "app-flatpak-org.telegram.desktop-1234.scope",
 * "snap.telegram-desktop.telegram-desktop-UUID.scope". Empty strings when there is none. */
void classify_cgroup(const char *cgroup_path, char ret_flatpak[static 256], char ret_snap[static 256]);
