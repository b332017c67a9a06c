/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Does a packet to a blocked address (11.0.0.0/8 of run.sh) leave while rules change? */

struct gap {
        const char *program; /* of the agent */
        const char *config;
        const char *control; /* its socket */
        const char *cgroup; /* that it watches, and this process is in */
        const char *catalogue; /* a symbolic link to one of two folders, "a" and "b" beside it */
        const char *device; /* where packets would leave */
};

/* Fatal unless it proves that none has left. */
void gap_measure(const struct gap *g);
