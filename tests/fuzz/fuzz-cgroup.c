/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A folder of any name gives an id of the allowed characters, at most one, or none. */
#include <stdlib.h>
#include <string.h>
#include "agent/classify/classify.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char id[static 256])
{
        const char *end = memchr(id, '\0', 256);

        if (!end ||
            strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != (size_t)(end - id))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *path = strndup((const char *)data, size);
        char flatpak[256], snap[256];

        if (!path)
                return 0;
        classify_cgroup(path, flatpak, snap);
        check(flatpak);
        check(snap);
        if (flatpak[0] && snap[0])
                abort();
        return 0;
}
