/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What IT security would regret in a policy that parses and compiles. For the desk, not for the
 * agent. Pure: the clock is an argument. */
#include "rules/rules.h"

#define POLICY_EXPIRY_NEAR_DAYS 14

struct review_device {
        const char *name;
        const char *const *tags; /* NULL-terminated, or NULL */
};

struct rules_review {
        const struct policy *policy;
        const char *file; /* for the warnings */
        const struct catalogue *catalogue; /* NULL: what needs one is not looked at */
        const char *devices_file; /* NULL: nobody said which devices there are */
        const struct review_device *devices;
        size_t n_devices;
        time_t now;
        bool strict; /* warn also of what cannot be known from the file alone */
        void (*warn)(const struct diag *d, void *userdata);
        void *userdata;
};

/* Calls `warn` for each finding, [policy] first, then groups and channels in the order of the file. */
void rules_review(const struct rules_review *v);
