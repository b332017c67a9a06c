/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Looks at what is installed, so that a copy of it is known by its content: a channel's
 * packages and the programs of its name and path rules, and the interpreters.
 *
 * Nothing is learnt from a file that anybody but the administrator can write: else a user
 * could call a shell "signal-desktop" and have everybody's shells taken for Signal. Nor from
 * a program that others share (Electron, .NET, jpackage): there its archive is learnt. */
#include <sys/types.h>
#include "agent/classify/known.h"
#include "rules/rules.h"

struct learn_options {
        const char *root; /* in front of every path but the databases'; "" the machine's own */
        const char *dpkg; /* "/var/lib/dpkg" */
        const char *rpm; /* "/var/lib/rpm" */
        uid_t owner; /* whose files count: 0 */
};

/* A number that changes when packages were installed or removed. */
uint64_t known_stamp(const struct learn_options *o);
int known_learn(const struct learn_options *o, const struct ruleset *r, struct known **ret);
