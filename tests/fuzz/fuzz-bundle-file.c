/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any bytes as a bundle's file, plain or compressed: lines without a newline within, an end, or a reason. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "cli/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_fd_ int fd = memfd_create("bundle", MFD_CLOEXEC);
        _cleanup_(bundle_reader_freep) struct bundle_reader *reader = NULL;
        struct diag d = {0};
        char path[32];
        int r;

        if (fd < 0 || write(fd, data, size) != (ssize_t)size)
                return 0;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = bundle_reader_open(path, &reader, &d);
        for (const char *line; r >= 0;) {
                bool whole;
                size_t n;

                r = bundle_reader_line(reader, &line, &n, &whole, &d);
                if (r == 0)
                        return 0;
                if (r > 0 && memchr(line, '\n', n))
                        abort();
        }
        if (!*d.text && r != -ENOMEM)
                abort();
        return 0;
}
