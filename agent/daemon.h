/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The three things onchanneld can do. They log what goes wrong. */
#include <stdbool.h>
#include "agent/state/config.h"

struct daemon_options {
        bool release; /* take enforcement off when told to end */
        bool no_lsm;
        const struct diag *refused; /* why the agent.ini of the last start is in force, NULL it is not */
};

int daemon_run(const struct config *c, const struct daemon_options *o);
/* Reads what a start would read, changes nothing, prints "configuration OK". */
int daemon_check(const struct config *c);
/* Removes links, pins and the table of an agent that has ended. -EBUSY it is running. */
int daemon_release(const struct config *c);

/* ---- release.c ---- */
int release_record(const struct config *c); /* in the chain; logs why not */
void release_forget(const struct config *c); /* an agent goes on with the chain */
