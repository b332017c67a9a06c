/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What a disk that loses its power has of files: as much of each as was there when it was synced last. */
#include <sys/stat.h>

#define SYNCED_FILES_MAX 32

struct synced {
        ino_t inodes[SYNCED_FILES_MAX];
        off_t sizes[SYNCED_FILES_MAX];
};

/* To be read or set; 0 of a file that was never synced. */
static inline off_t *synced_size(struct synced *s, const struct stat *st)
{
        size_t i = 0;

        while (i < SYNCED_FILES_MAX - 1 && s->inodes[i] && s->inodes[i] != st->st_ino)
                i++;
        assert_true(!s->inodes[i] || s->inodes[i] == st->st_ino);
        s->inodes[i] = st->st_ino;
        return &s->sizes[i];
}
