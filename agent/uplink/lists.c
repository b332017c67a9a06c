/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lists of signed files that the collector sends: links and exemptions. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define PREFIX     "collector-"
#define HASH_BYTES 16
#define NAME_SIZE  (sizeof(PREFIX) + 2 * HASH_BYTES + sizeof(".ini"))

struct item {
        const char *file, *minisig;
        size_t size, minisig_size;
        char name[NAME_SIZE];
};

/* Named by what it holds, signature included: what is there already is not written again. */
static void name_item(struct item *i)
{
        uint8_t hash[HASH_BYTES];
        crypto_generichash_state s;
        char hex[2 * HASH_BYTES + 1];

        crypto_generichash_init(&s, NULL, 0, sizeof(hash));
        crypto_generichash_update(&s, (const uint8_t *)i->file, i->size);
        crypto_generichash_update(&s, (const uint8_t *)i->minisig, i->minisig_size);
        crypto_generichash_final(&s, hash, sizeof(hash));
        hex_encode(hash, sizeof(hash), hex);
        snprintf(i->name, sizeof(i->name), PREFIX "%s.ini", hex);
}

static int read_items(const struct uplink_list *l, json_t *list, struct item **ret)
{
        _cleanup_free_ struct item *items = NULL;
        size_t i;
        json_t *v;

        if (!json_is_array(list))
                return -EBADMSG;
        if (json_array_size(list) > l->max_files)
                return -E2BIG;
        items = calloc(json_array_size(list) + 1, sizeof(*items));
        if (!items)
                return -ENOMEM;
        json_array_foreach(list, i, v)
        {
                struct item *t = &items[i];

                if (json_unpack(v, "{s:s%, s:s%}", "file", &t->file, &t->size, "minisig", &t->minisig,
                                &t->minisig_size) < 0)
                        return -EBADMSG;
                if (t->size > l->max_bytes || t->minisig_size > UPLINK_MINISIG_MAX)
                        return -EFBIG;
                name_item(t);
        }
        *ret = TAKE_PTR(items);
        return 0;
}

static int write_item(const char *folder, const struct item *i)
{
        _cleanup_free_ char *file = format_new("%s/%s", folder, i->name);
        _cleanup_free_ char *minisig = format_new("%s/%s.minisig", folder, i->name);
        int r;

        if (!file || !minisig)
                return -ENOMEM;
        if (access(file, F_OK) == 0)
                return 0;
        r = file_write_atomic(minisig, i->minisig, i->minisig_size, 0644);
        return r < 0 ? r : file_write_atomic(file, i->file, i->size, 0644);
}

static bool is_listed(const struct item *items, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++) {
                const size_t size = strlen(items[i].name);

                if (!strncmp(name, items[i].name, size) && (!name[size] || !strcmp(name + size, ".minisig")))
                        return true;
        }
        return false;
}

/* Ours only: what an administrator has put there stays. */
static int remove_others(const char *folder, const struct item *items, size_t n)
{
        DIR *d = opendir(folder);
        const struct dirent *e;

        if (!d)
                return -errno;
        while ((e = readdir(d)))
                if (text_starts_with(e->d_name, PREFIX) && !is_listed(items, n, e->d_name))
                        unlinkat(dirfd(d), e->d_name, 0);
        closedir(d);
        return 0;
}

int list_store(const struct uplink_config *c, const struct uplink_list *l, json_t *list)
{
        _cleanup_free_ char *folder = format_new("%s/incoming/%s", c->state, l->name);
        _cleanup_free_ struct item *items = NULL;
        int r;

        if (!list)
                return 0;
        r = folder ? read_items(l, list, &items) : -ENOMEM;
        if (r >= 0)
                r = dir_make(folder, 0770);
        for (size_t i = 0; r >= 0 && i < json_array_size(list); i++)
                r = write_item(folder, &items[i]);
        return r < 0 ? r : remove_others(folder, items, json_array_size(list));
}
