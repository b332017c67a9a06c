/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A rule set as browsers' policy documents. Pure: no I/O, no clock. Only what is blocked for
 * everyone is in them: a machine's policy knows no users, so a channel on which somebody is
 * exempt is left to the layers below, as is a name above one that is not blocked. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "rules/rules.h"

/* Chromium's kMaxUrlFiltersPerPolicy and Firefox's LIST_LENGTH_LIMIT: what follows is ignored there. */
#define BROWSER_PATTERNS_MAX 1000

/* Blocked for everyone: nobody is exempt. */
bool browser_blocks(const struct ruleset *rs, uint16_t channel);

/* A host with all names below it unless exact, and what its path begins with. */
struct browser_target {
        const char *value; /* host and path, of the rule set */
        size_t host_size;
        bool exact;
};

/* What the browsers shall block: paths first, since nothing else can tell them apart, then names,
 * bypass channels' last. None covers another. *ret is new; free(). */
int browser_targets(const struct ruleset *rs, struct browser_target **ret, size_t *ret_n);

struct browser_input {
        const struct ruleset *rules;
        const json_t *theirs; /* what the administrator has set, {} nothing; it stays in force beside ours */
        bool keep_lists; /* they could not be read: leave the lists alone */
};
struct browser_output {
        json_t *document; /* NULL: nothing is blocked */
        size_t patterns; /* ours in it */
        size_t left_out; /* ours beyond BROWSER_PATTERNS_MAX */
};

/* Chromium, Chrome, Edge, Brave: one file among others; their lists are repeated in it, because of
 * a policy that stands in two files only the last one counts. */
int browser_chromium(const struct browser_input *in, struct browser_output *ret);
/* Firefox: the one file, theirs and ours, with a member "onchannel" that says so. */
int browser_firefox(const struct browser_input *in, struct browser_output *ret);
#define BROWSER_MARK "onchannel"
