/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Diversions, an empty line, a package's list: every path is absolute and fits. */
#include <stdlib.h>
#include <string.h>
#include "agent/classify/package.h"
#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = strndup((const char *)data, size);
        char *list = text ? strstr(text, "\n\n") : NULL, diverted[PACKAGE_PATH_MAX], *path;

        if (!list)
                return 0;
        list[1] = '\0';
        list += 2;
        while ((path = dpkg_next_path(&list))) {
                const char *real = dpkg_diverted(text, path, "chat-desktop", diverted);

                if (real[0] != '/' || strlen(real) >= PACKAGE_PATH_MAX)
                        abort();
        }
        return 0;
}
