/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The browsers' managed folders: writes the rule set's documents there, finds out whether somebody
 * changed them, takes its own away. An administrator's files are read, never written: Firefox's one
 * file is kept beside ours under BROWSER_THEIRS. Runs as root, in the agent's one thread. */
#include <stdbool.h>
#include <stddef.h>
#include "rules/rules.h"

#define BROWSER_FILE   "zz-onchannel.json" /* of files with the same policy Chromium obeys the last by name */
#define BROWSER_THEIRS "policies.json.administrator"

struct browser;

struct browser_state {
        size_t files; /* of ours that are in place */
        size_t patterns; /* in the fullest of them */
        size_t left_out; /* beyond what a browser takes */
        char tampered[128]; /* the file that somebody else had changed or removed; "" none */
        char problem[512]; /* what could not be done, or is not obeyed; "" nothing */
};

/* Files lie below `root`, "" for the machine's own. */
int browser_new(const char *root, struct browser **ret);
struct browser *browser_free(struct browser *b); /* leaves the files; returns NULL */

/* Make the files say what `rs` says; NULL or nothing blocked takes them away, with the folders that
 * are empty then. Writes only what differs. Whatever goes wrong is in ret->problem. */
void browser_apply(struct browser *b, const struct ruleset *rs, struct browser_state *ret);

/* The folders to watch, 0 ≤ i < browser_folders() ≤ BROWSER_FOLDERS_MAX. */
#define BROWSER_FOLDERS_MAX 8
size_t browser_folders(void);
const char *browser_folder(const struct browser *b, size_t i);
