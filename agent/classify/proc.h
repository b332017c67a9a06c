/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One process in /proc. The folder is opened once, so that all reads are of the same process
 * even when its number is given to another one: those fail with -ESRCH. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include "base/cleanup.h"

#define PROC_FILE_MAX    8192
#define PROC_CMDLINE_MAX (256u << 10) /* what lies behind is not looked at */
#define PROC_ARGS_MAX    4096

/* A folder descriptor. -ESRCH no such process, or it started after boottime_ns (0: any). */
int proc_open(uint32_t pid, uint64_t boottime_ns, int *ret_fd);
/* Path of the executable without " (deleted)", and what it is; /memfd:NAME for a memfd. */
int proc_exe(int fd, char *ret_path, size_t size, struct stat *ret_stat);
/* All zero: the file system hides itself from everybody but its owner, root included. */
int proc_stat_exe(int fd, struct stat *ret);
/* Who made the outermost user namespace that the process is in below ours; 0: it is in ours, or root made it. */
int proc_namespace_owner(int fd, uint32_t *ret);
int proc_link(int fd, const char *name, char *ret, size_t size);
/* A text file's first PROC_FILE_MAX-1 bytes. */
int proc_text(int fd, const char *name, char ret[static PROC_FILE_MAX]);

struct proc_cmdline {
        char *text;
        size_t size;
        const char **argv; /* NULL-terminated, points into text */
};
int proc_cmdline(int fd, struct proc_cmdline *ret);
void proc_cmdline_done(struct proc_cmdline *c); /* wipes it */
#define _cleanup_cmdline_ _cleanup_(proc_cmdline_done)
