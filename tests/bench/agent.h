/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The agent under measurement: start it until it enforces, end it so that nothing stays. Fatal
 * on failure. */
#include <sys/types.h>

struct agent {
        pid_t pid; /* 0: not running */
        double start_us; /* from fork to READY=1 */
};

void agent_start(struct agent *a, const char *program, const char *config);
void agent_stop(struct agent *a);
double agent_resident_mib(const struct agent *a);
/* One request on the control socket and the time until its answer. */
double agent_reload_us(const char *control_socket);
void die(const char *what) __attribute__((noreturn));
