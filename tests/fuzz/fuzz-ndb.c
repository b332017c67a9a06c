/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names end within their header, headers are of a bounded size, their files have absolute paths. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "agent/classify/package.h"
#include "agent/classify/rpm-ndb.h"
#include "base/cleanup.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t find(const char *package, void *userdata)
{
        return strlen(package) % 4 ? 1 : 0;
}

static int take(const uint8_t *header, size_t size, uint32_t entry, void *userdata)
{
        if (size > NDB_HEADER_MAX || entry != 1)
                abort();
        return header[size - 1] == 77 ? -ENOMEM : 0; /* all of it is there */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_fd_ int fd = memfd_create("fuzz", MFD_CLOEXEC);

        if (fd >= 0 && fd_write_all(fd, data, size) >= 0)
                ndb_walk(fd, &(struct ndb_handlers){.find = find, .package = take});
        return 0;
}
