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
/* The folder of a thread that lives, below the process' own: the first one may have ended before the others, and has no executable,
 * memory or folders any more. The functions below look there by themselves. -ESRCH: none does, or it is the kernel's. */
int proc_living(int fd, int *ret_fd);
/* The executable's content, to be read; waits where its file system does. */
int proc_open_exe(int fd);
/* Path of the executable without " (deleted)", and what it is; /memfd:NAME for a memfd. */
int proc_exe(int fd, char *ret_path, size_t size, struct stat *ret_stat);
/* The path alone, of which the file system is not asked; what is really called "X (deleted)" is X. */
int proc_exe_path(int fd, char *ret, size_t size);
/* All zero: the file system hides itself from everybody but its owner, root included. */
int proc_stat_exe(int fd, struct stat *ret);
/* Who made the outermost user namespace that the process is in below ours; 0: it is in ours, or root made it. */
int proc_namespace_owner(int fd, uint32_t *ret);
/* In a mount namespace of its own, where a user may have mounted what it runs. */
bool proc_is_elsewhere(int fd);
/* In the environment that it was started with. */
bool proc_has_variable(int fd, const char *name);
int proc_link(int fd, const char *name, char *ret, size_t size);
/* A text file's first PROC_FILE_MAX-1 bytes. */
int proc_text(int fd, const char *name, char ret[static PROC_FILE_MAX]);
/* Where the executable's code begins in memory. */
int proc_start_code(int fd, uint64_t *ret);

struct proc_cmdline {
        char *text;
        size_t size;
        const char **argv; /* NULL-terminated, points into text */
};
int proc_cmdline(int fd, struct proc_cmdline *ret);
void proc_cmdline_done(struct proc_cmdline *c); /* wipes it */
#define _cleanup_cmdline_ _cleanup_(proc_cmdline_done)
