/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the files of this folder share. */
#include "agent/classify/classify.h"
#include "agent/classify/arguments.h"

struct host_match {
        uint32_t entry; /* 0: none */
        char file[FACT_PATH_MAX]; /* what the host runs, absolute; "" no file */
};
/* As a name, and as a file of that process (fd: /proc/PID; "" none), which need not exist. False: it has no name. */
bool classify_target(int fd, const struct host_target *t, char ret_name[static FACT_PATH_MAX],
                     char ret_file[static FACT_PATH_MAX]);
/* What a host's arguments tell: by the name of what it runs, then one by one. fd: /proc/PID. */
int classify_host(const struct ruleset *r, int fd, enum host host, struct host_match *ret);
