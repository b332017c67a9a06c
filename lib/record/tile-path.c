/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a tile is: C2SP tlog-tiles, "Merkle Tree". */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/text.h"
#include "record/merkle.h"

void merkle_tile_path(const struct merkle_tile *t, char ret[static MERKLE_PATH_MAX])
{
        unsigned groups[7], n = 0; /* 1000^7 > 2^64 */
        uint64_t rest = t->index;
        char *p = ret;

        do {
                groups[n++] = (unsigned)(rest % 1000);
                rest /= 1000;
        } while (rest > 0);
        p += t->level == MERKLE_ENTRIES ? sprintf(p, "tile/entries/") : sprintf(p, "tile/%u/", t->level);
        while (--n > 0)
                p += sprintf(p, "x%03u/", groups[n]);
        p += sprintf(p, "%03u", groups[0]);
        if (t->width < MERKLE_TILE_HASHES)
                sprintf(p, ".p/%u", t->width);
}

/* Reads numbers generously; the caller compares with what the tile would be called. */
static int read_generously(const char *path, struct merkle_tile *ret)
{
        unsigned level, group;
        int used = 0;
        const char *p = path;

        *ret = (struct merkle_tile){.width = MERKLE_TILE_HASHES};
        if (text_starts_with(p, "tile/entries/")) {
                ret->level = MERKLE_ENTRIES;
                p += strlen("tile/entries/");
        } else if (sscanf(p, "tile/%2u/%n", &level, &used) == 1 && used > 0 && level < MERKLE_ENTRIES) {
                ret->level = level;
                p += used;
        } else {
                return -EINVAL;
        }
        for (bool more = true; more; p += used) {
                more = *p == 'x';
                used = 0;
                if (ret->index > MERKLE_SIZE_MAX || sscanf(more ? p + 1 : p, "%3u%n", &group, &used) != 1)
                        return -EINVAL;
                if (more && p[1 + used] != '/')
                        return -EINVAL;
                used += more ? 2 : 0; /* 'x' and '/' */
                ret->index = ret->index * 1000 + group;
        }
        if (text_starts_with(p, ".p/") && sscanf(p, ".p/%3u", &ret->width) != 1)
                return -EINVAL;
        return 0;
}

int merkle_tile_parse(const char *path, struct merkle_tile *ret)
{
        char canonical[MERKLE_PATH_MAX];
        struct merkle_tile t;

        if (strlen(path) >= sizeof(canonical) || read_generously(path, &t) < 0 || t.width < 1 ||
            t.width > MERKLE_TILE_HASHES)
                return -EINVAL;
        merkle_tile_path(&t, canonical);
        if (strcmp(path, canonical) != 0)
                return -EINVAL;
        *ret = t;
        return 0;
}
