/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The headers of chosen packages in rpm's ndb database (Packages.db). Only their heads are read of the others. */
#include <stddef.h>
#include <stdint.h>

#define NDB_HEADER_MAX (32u << 20)

struct ndb_handlers {
        uint32_t (*find)(const char *package, void *userdata); /* 0: not wanted */
        /* A negative answer ends the walk. */
        int (*package)(const uint8_t *header, size_t size, uint32_t entry, void *userdata);
        void *userdata;
};

/* -EBADMSG no such database. What is damaged is left out. */
int ndb_walk(int fd, const struct ndb_handlers *h);
