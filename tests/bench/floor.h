/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Programs that do nothing at each of the agent's hooks, and a chain without rules, or the agent's table: what the hooks
 * themselves cost, whoever uses them. Fatal on failure. */
#include <stddef.h>

#define FLOOR_HOOKS 9

struct empty_hooks {
        int links[FLOOR_HOOKS];
        size_t n;
};

/* `table`: a file for nft(8); NULL: the chain without rules */
void floor_start(struct empty_hooks *f, const char *cgroup, const char *table);
void floor_stop(struct empty_hooks *f);
