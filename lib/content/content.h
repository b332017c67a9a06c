/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What a file is by its content, whatever it is called and wherever it lies. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "content/elf-note.h"

#define CONTENT_HEAD_BYTES 65536
#define CONTENT_PRINT_SIZE 32
#define CONTENT_HASH_MAX   (512ull << 20) /* a larger file has no SHA-256: no messenger is as large */

struct content {
        uint64_t dev;
        uint64_t ino;
        uint64_t ctime_ns;
        uint64_t size;
        char build_id[2 * ELF_BUILD_ID_MAX + 1]; /* "" none */
        uint64_t loaded_bytes; /* 0: no ELF file */
        /* Size and SHA-256 of the first 64 KiB, for files that have no build id or share it:
         * an archive's head lists its files, a program's head is its code. */
        uint8_t print[CONTENT_PRINT_SIZE];
        bool has_print;
        char sha256[65]; /* "" not asked for, or too large */
};

/* Stat and ELF headers. -EINVAL no regular file. */
int content_read(int fd, struct content *ret);
/* The same from a process' memory: all that can be known of a program on a file system that
 * shows itself to its owner alone. proc_fd: /proc/PID; address: where the file is mapped. */
int content_read_memory(int proc_fd, uint64_t address, struct content *ret);
/* Add the print; *ret_head (may be NULL) is its NUL-terminated text, free(). */
int content_add_print(int fd, struct content *c, char **ret_head);
/* Add the SHA-256, unless the file is too large. Ends with -ECANCELED once *stop is set. */
int content_add_sha256(int fd, struct content *c, const atomic_bool *stop);
