/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What is still on this machine about one person: records of the spool, as they were written.
 * Runs in a forked child of the daemon. */
#include <sys/types.h>

/* A JSON array of the records whose actor is `uid`. -ETIMEDOUT a slow reader. */
int mydata_write(int fd, uid_t uid, const char *spool_dir, const char *device_id);
