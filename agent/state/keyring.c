/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/state/keyring.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/state/store.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

#define FOLDER_FILES_MAX 64 /* looked at in a folder that others write */

static int load_key(struct keyring *k, const char *path, enum trust_role role, struct diag *reterr)
{
        _cleanup_free_ char *text = NULL;
        struct trust_key key;
        size_t size;
        int r;

        r = file_read(path, TRUST_KEY_MAX_BYTES, &text, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return diag_set(reterr, r, path, 0, "%s", strerror(-r));
        r = trust_key_parse(text, size, path, &key, reterr);
        return r < 0 ? r : trust_ring_add(&k->installed, role, &key);
}

/* policy.pub, policy2.pub, … */
static int load_keys(struct keyring *k, const char *dir, struct diag *reterr)
{
        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++)
                for (unsigned i = 1; i <= TRUST_KEYS_MAX; i++) {
                        char number[12] = "";
                        _cleanup_free_ char *path = NULL;
                        int r;

                        if (i > 1)
                                snprintf(number, sizeof(number), "%u", i);
                        path = format_new("%s/%s%s.pub", dir, trust_role_to_string(role), number);
                        r = path ? load_key(k, path, role, reterr) : -ENOMEM;
                        if (r < 0)
                                return r;
                }
        return 0;
}

void keyring_before(const struct keyring *k, uint64_t serial, struct trust_ring *ret)
{
        *ret = k->installed;
        for (size_t i = 0; i < k->n_links && k->links[i].serial < serial; i++)
                policy_hand_over(k->links[i].policy, ret, NULL, NULL); /* checked before it was kept */
}

void keyring_now(const struct keyring *k, struct trust_ring *ret)
{
        keyring_before(k, UINT64_MAX, ret);
        for (enum trust_role role = 0; role < _TRUST_ROLE_MAX; role++)
                if (ret->signatures[role] < k->floor[role])
                        ret->signatures[role] = k->floor[role];
}

uint64_t keyring_serial(const struct keyring *k)
{
        return k->n_links ? k->links[k->n_links - 1].serial : 0;
}

int keyring_check(const struct keyring *k, const struct policy *p, const char *file, struct diag *reterr)
{
        struct trust_ring ring;

        keyring_now(k, &ring);
        if (policy_hands_over(p) && k->n_links == TRUST_LINKS_MAX && p->serial > keyring_serial(k))
                return diag_set(reterr, -E2BIG, file, p->trust_line,
                                "%d policies have changed keys already: install the newest keys in the keys folder",
                                TRUST_LINKS_MAX);
        return policy_hand_over(p, &ring, file, reterr);
}

/* A link with its signature in `folder`; parsed, not verified. */
static int link_read(const char *folder, const char *name, struct trust_file *f, struct policy **ret)
{
        _cleanup_free_ char *path = format_new("%s/%s", folder, name),
                            *sig = format_new("%s/%s.minisig", folder, name);
        _cleanup_free_ char *text = NULL, *minisig = NULL;
        int r;

        if (!path || !sig)
                return -ENOMEM;
        r = store_read_plain(path, POLICY_MAX_BYTES, &text, &f->size);
        if (r >= 0)
                r = store_read_plain(sig, TRUST_SIGNATURE_MAX_BYTES, &minisig, &f->minisig_size);
        if (r >= 0)
                r = policy_parse(text, f->size, name, ret, NULL);
        if (r < 0)
                return r;
        f->name = name;
        f->data = TAKE_PTR(text);
        f->minisig = TAKE_PTR(minisig);
        return 0;
}

static void link_file_done(struct trust_file *f)
{
        free((void *)f->data);
        free((void *)f->minisig);
}

static int link_verify(const struct trust_ring *ring, const struct policy *p, const struct trust_file *f, time_t now)
{
        struct trust_verdict v;
        int r;

        r = trust_ring_verify(ring, TRUST_ROLE_POLICY, f, now, &v, NULL);
        return r < 0 ? r : policy_comment_check(p, v.comment, f->name, NULL);
}

static int append(struct keyring *k, struct policy *p)
{
        if (k->n_links == TRUST_LINKS_MAX)
                return -E2BIG;
        k->links[k->n_links++] = (struct link){.serial = p->serial, .policy = p};
        return 0;
}

static int is_link_name(const struct dirent *d)
{
        return text_ends_with(d->d_name, ".ini") && d->d_name[0] != '.';
}

/* Names in the order of their serials: twenty digits each. */
static int link_names(const char *folder, struct dirent ***ret)
{
        int n = scandir(folder, ret, is_link_name, alphasort);

        return n < 0 ? (errno == ENOENT ? 0 : -errno) : n;
}

static void names_free(struct dirent **names, int n)
{
        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

/* Those in the state folder: as they were accepted, whatever the clock says now. */
static int load_links(struct keyring *k, struct diag *reterr)
{
        struct dirent **names = NULL;
        int n = link_names(k->folder, &names), r = 0;

        if (n < 0)
                return diag_set(reterr, n, k->folder, 0, "%s", strerror(-n));
        for (int i = 0; i < n; i++) {
                _cleanup_(link_file_done) struct trust_file f = {0};
                _cleanup_policy_ struct policy *p = NULL;
                struct trust_ring ring;

                keyring_before(k, UINT64_MAX, &ring);
                r = link_read(k->folder, names[i]->d_name, &f, &p);
                if (r >= 0 && p->serial > keyring_serial(k) && link_verify(&ring, p, &f, 0) >= 0 &&
                    policy_hand_over(p, &ring, NULL, NULL) >= 0 && append(k, p) >= 0)
                        TAKE_PTR(p);
        }
        names_free(names, n);
        return 0;
}

int keyring_open(struct keyring *k, const char *keys_dir, const char *state_dir, const unsigned *floor,
                 struct diag *reterr)
{
        int r;

        k->folder = format_new("%s/policy/links", state_dir);
        if (!k->folder)
                return -ENOMEM;
        if (floor)
                memcpy(k->floor, floor, sizeof(k->floor));
        r = load_keys(k, keys_dir, reterr);
        return r < 0 ? r : load_links(k, reterr);
}

void keyring_done(struct keyring *k)
{
        for (size_t i = 0; i < k->n_links; i++)
                policy_free(k->links[i].policy);
        free(k->folder);
        *k = (struct keyring){0};
}

static int write_link(const struct keyring *k, uint64_t serial, const struct trust_file *f)
{
        _cleanup_free_ char *file = format_new("%s/%020" PRIu64 ".ini", k->folder, serial);
        _cleanup_free_ char *minisig = format_new("%s/%020" PRIu64 ".ini.minisig", k->folder, serial);
        int r;

        if (!file || !minisig)
                return -ENOMEM;
        r = dir_make(k->folder, 0700);
        if (r >= 0)
                r = file_write_atomic(minisig, f->minisig, f->minisig_size, 0600);
        return r < 0 ? r : file_write_atomic(file, f->data, f->size, 0600);
}

int keyring_keep(struct keyring *k, const struct policy *p, const struct trust_file *f)
{
        _cleanup_policy_ struct policy *copy = NULL;
        int r;

        if (!policy_hands_over(p) || p->serial <= keyring_serial(k))
                return 0;
        r = policy_parse(f->data, f->size, f->name, &copy, NULL);
        if (r >= 0 && !k->read_only)
                r = write_link(k, p->serial, f);
        if (r >= 0)
                r = append(k, copy);
        if (r >= 0)
                TAKE_PTR(copy);
        return r;
}

/* One file; 1 it is a link that follows. */
static int take_one(struct keyring *k, const char *folder, const char *name, time_t now)
{
        _cleanup_(link_file_done) struct trust_file f = {0};
        _cleanup_policy_ struct policy *p = NULL;
        struct trust_ring ring;
        int r;

        r = link_read(folder, name, &f, &p);
        if (r < 0 || p->serial <= keyring_serial(k) || !policy_hands_over(p))
                return 0;
        keyring_now(k, &ring);
        if (link_verify(&ring, p, &f, now) < 0 || keyring_check(k, p, name, NULL) < 0)
                return 0;
        r = keyring_keep(k, p, &f);
        return r < 0 ? r : 1;
}

int keyring_take(struct keyring *k, const char *folder, time_t now)
{
        struct dirent **names = NULL;
        int n = link_names(folder, &names), r = 0;

        for (int i = 0; i < n && i < FOLDER_FILES_MAX && r >= 0; i++)
                r = take_one(k, folder, names[i]->d_name, now);
        names_free(names, n);
        return n < 0 ? n : r;
}
