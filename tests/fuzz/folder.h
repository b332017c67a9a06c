/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* For targets that read files: one folder in memory, gone with the program. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char folder[] = "/dev/shm/fuzz-XXXXXX";

static int folder_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void folder_remove(void)
{
        nftw(folder, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* True the first time: it is made now. */
static bool folder_make(void)
{
        static bool made;

        if (made)
                return false;
        if (!mkdtemp(folder) || atexit(folder_remove) != 0)
                abort();
        return made = true;
}

/* The path of a file there, or of a new folder, in `buf`. */
static const char *folder_path(const char *name, bool make, char buf[static 64])
{
        if (snprintf(buf, 64, "%s/%s", folder, name) >= 64 || (make && mkdir(buf, 0700) < 0))
                abort();
        return buf;
}
