/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rpm's own database format, openSUSE's default: slots of 16 bytes that say where each package's header
 * lies, in blocks of 16 bytes, little-endian (rpm 4.18, lib/backend/ndb/rpmpkg.c). */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/classify/rpm-ndb.h"
#include "base/cleanup.h"

#define DATABASE_MAGIC 0x506d7052u /* "RpmP" */
#define SLOT_MAGIC     0x746f6c53u /* "Slot" */
#define BLOB_MAGIC     0x53626c42u /* "BlbS" */
#define PAGE_BYTES     4096
#define BLOCK_BYTES    16
#define PAGES_MAX      1024 /* 262,144 packages */
#define TAG_NAME       1000
#define TYPE_STRING    6
#define NAME_WITHIN    8192 /* of a header: the index, and the name first in the store */

struct slot {
        uint32_t magic, package, block, n_blocks;
};
#define SLOTS_A_PAGE (PAGE_BYTES / sizeof(struct slot))

struct blob_head {
        uint32_t magic, package, generation, size;
};

static bool read_whole(int fd, void *ret, size_t size, uint64_t offset)
{
        return pread(fd, ret, size, (off_t)offset) == (ssize_t)size;
}

static uint32_t be32_at(const uint8_t *p)
{
        uint32_t be;

        memcpy(&be, p, sizeof(be));
        return be32toh(be);
}

/* The name in what may be the beginning only of a header; NULL none there. */
static const char *name_of(const uint8_t *header, size_t size)
{
        size_t n = size >= 8 ? be32_at(header) : 0, store = 8 + n * 16;

        if (n == 0 || n > size / 16 || store > size)
                return NULL;
        for (const uint8_t *e = header + 8; e < header + store; e += 16) {
                uint64_t at = store + (uint64_t)be32_at(e + 8);

                if (be32_at(e) == TAG_NAME)
                        return be32_at(e + 4) == TYPE_STRING && at < size && memchr(header + at, '\0', size - at)
                                       ? (const char *)header + at
                                       : NULL;
        }
        return NULL;
}

static int walk_blob(int fd, const struct slot *s, const struct ndb_handlers *h)
{
        uint64_t at = (uint64_t)le32toh(s->block) * BLOCK_BYTES;
        uint64_t room = (uint64_t)le32toh(s->n_blocks) * BLOCK_BYTES;
        _cleanup_free_ uint8_t *whole = NULL;
        uint8_t head[NAME_WITHIN];
        struct blob_head b;
        const char *name;
        size_t size;
        uint32_t entry;

        if (room <= sizeof(b) || !read_whole(fd, &b, sizeof(b), at) || le32toh(b.magic) != BLOB_MAGIC ||
            b.package != s->package)
                return 0; /* it is being written: the next stamp brings it */
        size = le32toh(b.size);
        if (size > room - sizeof(b) || size > NDB_HEADER_MAX)
                return 0;
        if (!read_whole(fd, head, size < sizeof(head) ? size : sizeof(head), at + sizeof(b)))
                return 0;
        name = name_of(head, size < sizeof(head) ? size : sizeof(head));
        entry = name ? h->find(name, h->userdata) : 0;
        if (entry == 0)
                return 0;
        whole = malloc(size);
        if (!whole)
                return -ENOMEM;
        return read_whole(fd, whole, size, at + sizeof(b)) ? h->package(whole, size, entry, h->userdata) : 0;
}

int ndb_walk(int fd, const struct ndb_handlers *h)
{
        struct slot page[SLOTS_A_PAGE];
        uint32_t head[4], n_pages;
        int r = 0;

        if (!read_whole(fd, head, sizeof(head), 0) || le32toh(head[0]) != DATABASE_MAGIC || head[1] != 0)
                return -EBADMSG;
        n_pages = le32toh(head[3]);
        if (n_pages > PAGES_MAX)
                return -EBADMSG;
        for (uint32_t p = 0; p < n_pages; p++) {
                if (!read_whole(fd, page, sizeof(page), (uint64_t)p * PAGE_BYTES))
                        return -EBADMSG;
                for (size_t i = p == 0 ? 2 : 0; r >= 0 && i < SLOTS_A_PAGE; i++) /* the first two are the head */
                        if (le32toh(page[i].magic) == SLOT_MAGIC && page[i].block)
                                r = walk_blob(fd, &page[i], h);
        }
        return r;
}
