/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The latest notices of each user, in memory only. */
#include <stdint.h>
#include <sys/types.h>

#define NOTICES_PER_USER  100
#define NOTICES_USERS_MAX 32 /* the user idle for longest makes room */

struct notices;
int notices_new(struct notices **ret);
struct notices *notices_free(struct notices *n); /* returns NULL */
/* Keeps a copy of a JSON text. */
int notices_add(struct notices *n, uid_t uid, const char *json);
/* JSON array text of the latest NOTICES_PER_USER, oldest first; free(). Root gets everyone's. */
char *notices_list(const struct notices *n, uid_t uid);
