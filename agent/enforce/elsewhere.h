/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Work in another network namespace than the agent's, which never leaves its own. Runs as root. */
#include <stdint.h>

/* Cookie of the network namespace that a socket is of; 0: a kernel before Linux 5.14. */
uint64_t elsewhere_cookie(int socket);

/* Calls work(userdata) in the network namespace with that cookie, in a thread that ends with it: of process
 * tgid, or any that a process is in (0: unknown), if there is time to look for it. Returns what it returned, -EXDEV: not found. */
int elsewhere_run(uint64_t netns, uint32_t tgid, int (*work)(void *userdata), void *userdata);
