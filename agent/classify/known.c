/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include "agent/classify/known.h"
#include "base/cleanup.h"
#include "base/text.h"

struct known *known_free(struct known *k)
{
        if (k)
                free(k->items);
        free(k);
        return NULL;
}

int known_add(struct known *k, const struct known_item *item)
{
        if (k->n >= KNOWN_MAX)
                return -E2BIG;
        if ((k->n & (k->n - 1)) == 0) { /* full: its room is a power of two */
                struct known_item *items = reallocarray(k->items, k->n ? 2 * k->n : 1, sizeof(*items));

                if (!items)
                        return -ENOMEM;
                k->items = items;
        }
        k->items[k->n++] = *item;
        return 0;
}

static int compare_keys(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct known_key));
}

/* Equal keys: a channel's before a host's, the smaller entry before the larger. */
static int compare_items(const void *x, const void *y)
{
        const struct known_item *a = x, *b = y;
        int r = compare_keys(&a->key, &b->key);

        if (r == 0)
                r = (a->entry == 0) - (b->entry == 0);
        return r ? r : (a->entry > b->entry) - (a->entry < b->entry);
}

void known_sort(struct known *k)
{
        size_t n = 0;

        if (k->n)
                qsort(k->items, k->n, sizeof(*k->items), compare_items);
        memset(k->n_kind, 0, sizeof(k->n_kind));
        k->n_channels = 0;
        for (size_t i = 0; i < k->n; i++) {
                if (n > 0 && compare_keys(&k->items[n - 1].key, &k->items[i].key) == 0)
                        continue;
                k->items[n++] = k->items[i];
                k->n_kind[k->items[n - 1].key.kind]++;
                k->n_channels += k->items[n - 1].entry != 0;
        }
        k->n = n;
}

const struct known_item *known_find(const struct known *k, const struct known_key *key)
{
        return k->n ? bsearch(key, k->items, k->n, sizeof(*k->items), compare_keys) : NULL;
}

bool known_is_same(const struct known *a, const struct known *b)
{
        return a->n == b->n && (a->n == 0 || memcmp(a->items, b->items, a->n * sizeof(*a->items)) == 0);
}

struct known_key known_key_file(const struct content *c)
{
        struct known_key k = {.kind = KNOWN_FILE};

        memcpy(k.bytes, &c->dev, sizeof(c->dev));
        memcpy(k.bytes + sizeof(c->dev), &c->ino, sizeof(c->ino));
        return k;
}

struct known_key known_key_build_id(const struct content *c)
{
        struct known_key k = {.kind = KNOWN_BUILD_ID};
        size_t size = strlen(c->build_id) / 2;
        uint8_t id[ELF_BUILD_ID_MAX] = {};

        hex_decode(c->build_id, id, size);
        memcpy(k.bytes, id, sizeof(k.bytes));
        return k;
}

struct known_key known_key_print(const struct content *c)
{
        struct known_key k = {.kind = KNOWN_PRINT};

        memcpy(k.bytes, c->print, sizeof(k.bytes));
        return k;
}

bool known_has_size(const struct known *k, uint64_t size)
{
        if (k->n_kind[KNOWN_PRINT] == 0)
                return false;
        for (size_t i = k->n_kind[KNOWN_FILE] + k->n_kind[KNOWN_BUILD_ID]; i < k->n; i++) {
                uint64_t known = 0;

                for (size_t j = sizeof(known); j-- > 0;)
                        known = known << 8 | k->items[i].key.bytes[j];
                if (known == size)
                        return true;
        }
        return false;
}

const struct known_item *known_find_content(const struct known *k, const struct content *c)
{
        const struct known_key keys[] = {known_key_file(c), known_key_build_id(c), known_key_print(c)};
        const bool asked[] = {c->ino != 0, c->build_id[0] != '\0', c->has_print};
        const struct known_item *item = NULL;

        for (size_t i = 0; i < ELEMENTSOF(keys) && !item; i++)
                if (asked[i])
                        item = known_find(k, &keys[i]);
        return item;
}
