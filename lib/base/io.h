/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Files, whole. No logging. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Read a regular file of at most `max` bytes into a new NUL-terminated buffer.
 * -EFBIG larger than max (nothing is read), -EISDIR/-EINVAL not a regular file. */
int file_read(const char *path, size_t max, char **ret, size_t *ret_size);
/* The same relative to a folder descriptor (AT_FDCWD allowed). */
int file_read_at(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size);
/* A decimal number of at most INT64_MAX, its line's end aside. *ret is left alone unless 0 is returned.
 * -EBADMSG it holds something else, else as file_read(). */
int file_read_number(const char *path, uint64_t *ret);
/* Replace a file durably: temporary name in the same folder, fsync, rename, fsync folder. */
int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode);
struct file_access {
        mode_t mode;
        gid_t gid; /* -1: the caller's */
};
/* The same, for a group to whom it must be readable as soon as it is there. */
int file_write_atomic_for(const char *path, const void *data, size_t size, const struct file_access *a);
/* The name beside `path` under which it is written before the rename, for mkostemp(3): free(); NULL when memory is short. */
char *temporary_name(const char *path);
/* fsync(2) of the folder that `path` is in: a rename there is durable. */
int file_sync_folder(const char *path);
/* Write all of it, restarting on EINTR and short writes. */
int fd_write_all(int fd, const void *data, size_t size);
/* mkdir -p. */
int dir_make(const char *path, mode_t mode);
/* Rename what stands there to PATH.damaged, PATH.damaged2, … -EEXIST all of these are taken. */
int path_set_aside(const char *path);
/* New string by printf, or NULL when memory is short. */
char *format_new(const char *format, ...) __attribute__((format(printf, 1, 2)));
