/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The GNU build id of an ELF file (elf(5), PT_NOTE): the linker's hash of what it made, which
 * renaming, copying, stripping and appending leave as it is. Reads a few hundred bytes; the
 * file may be hostile. */
#include <stddef.h>
#include <stdint.h>

#define ELF_BUILD_ID_MAX 64

struct elf_info {
        uint8_t build_id[ELF_BUILD_ID_MAX];
        size_t build_id_size; /* 0: it has none */
        uint64_t loaded_bytes; /* what of the file is mapped when it runs */
};

/* base: where the file begins in fd; 0, or in /proc/PID/mem the address it is mapped at.
 * -ENOEXEC no ELF file of this machine's byte order, -EBADMSG malformed. */
int elf_read(int fd, uint64_t base, struct elf_info *ret);
