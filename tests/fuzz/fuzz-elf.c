/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A build id has at most its room, and stands in the file as it is. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "content/elf-note.h"
#include "base/cleanup.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_fd_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
        struct elf_info e = {};

        if (fd < 0 || fd_write_all(fd, data, size) < 0 || elf_read(fd, 0, &e) < 0 || e.build_id_size == 0)
                return 0;
        if (e.build_id_size > ELF_BUILD_ID_MAX || !memmem(data, size, e.build_id, e.build_id_size))
                abort();
        return 0;
}
