/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every file of a header has an absolute path that fits. */
#include <stdlib.h>
#include <string.h>
#include "agent/classify/package.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check(const char *path, uint32_t entry, void *userdata)
{
        if (path[0] != '/' || strlen(path) >= PACKAGE_PATH_MAX)
                abort();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        rpm_header_files(data, size, 1, check, NULL);
        return 0;
}
