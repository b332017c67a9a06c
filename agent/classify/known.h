/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What is known of executables on this machine besides the catalogue: the files of a channel's
 * packages, the content of its programs, and the content of interpreters. A sorted table. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "content/content.h"
#include "agent/classify/host.h"

#define KNOWN_MAX 16384

enum known_kind {
        KNOWN_FILE, /* device and inode */
        KNOWN_BUILD_ID,
        KNOWN_PRINT,
        _KNOWN_KIND_MAX,
};

struct known_key {
        uint8_t kind;
        uint8_t bytes[CONTENT_PRINT_SIZE]; /* zero-padded; a longer build id is cut */
};

struct known_item {
        struct known_key key;
        uint8_t reserved[2];
        uint8_t host; /* enum host: it runs what its arguments name */
        uint32_t entry; /* of the rule set it was learnt for; 0 with a host */
};

_Static_assert(sizeof(struct known_item) == 40, "known_is_same() compares all bytes");

struct known {
        struct known_item *items;
        size_t n;
        size_t n_kind[_KNOWN_KIND_MAX];
        size_t n_channels; /* items of a channel, the others are hosts */
};

struct known *known_free(struct known *k); /* returns NULL */
static inline void known_freep(struct known **k)
{
        known_free(*k);
}
#define _cleanup_known_ _cleanup_(known_freep)

/* -E2BIG more than KNOWN_MAX. */
int known_add(struct known *k, const struct known_item *item);
/* After the last known_add(); of equal keys the first one added stays. */
void known_sort(struct known *k);
const struct known_item *known_find(const struct known *k, const struct known_key *key);
bool known_is_same(const struct known *a, const struct known *b);

struct known_key known_key_file(const struct content *c);
struct known_key known_key_build_id(const struct content *c);
struct known_key known_key_print(const struct content *c);
/* Whether a print of any file of this size is known: only then is it worth reading. */
bool known_has_size(const struct known *k, uint64_t size);
/* By what has been read of it: file, build id, print. NULL unknown. */
const struct known_item *known_find_content(const struct known *k, const struct content *c);
