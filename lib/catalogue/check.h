/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What a careful reader would object to in a catalogue that parses: entries that would hit
 * other services or programs, entries that can never decide, checks that are out of date.
 * For authors and for the release, not for the agent. Pure: the clock is an argument. */
#include <stdbool.h>
#include <time.h>
#include "catalogue/catalogue.h"

#define CATALOGUE_CHECKED_DAYS_MAX 731 /* two years */

struct catalogue_finding {
        bool is_error; /* would hit the innocent; otherwise a warning */
        struct diag where;
};

typedef void (*catalogue_finding_handler)(const struct catalogue_finding *finding, void *userdata);

/* Call `handler` for each finding, channels by id, entries in the order of their file.
 * Returns the number of errors among them, or -ENOMEM. */
int catalogue_check(const struct catalogue *c, time_t now, catalogue_finding_handler handler, void *userdata);
