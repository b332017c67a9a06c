/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The questions to NSS. They may take as long as a directory that is away does. */
#include "agent/state/accounts.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

#define RECORD_BYTES_MAX (1u << 20) /* of one group with its members */
#define GROUPS_MAX       65536 /* NGROUPS_MAX: of one person */
#define SESSIONS         "/run/systemd/users" /* one file a person logged in, by uid */

void accounts_names_done(struct accounts_names *n)
{
        for (size_t i = 0; i < n->n_users; i++)
                free(n->users[i]);
        for (size_t i = 0; i < n->n_unixgroups; i++)
                free(n->unixgroups[i]);
        free(n->users);
        free(n->unixgroups);
        *n = (struct accounts_names){0};
}

static int list_add(char ***list, size_t *n, const char *name)
{
        char **larger;

        for (size_t i = 0; i < *n; i++)
                if (!strcmp((*list)[i], name))
                        return 0;
        larger = reallocarray(*list, *n + 2, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        *list = larger;
        larger[*n + 1] = NULL;
        larger[*n] = strdup(name);
        if (!larger[*n])
                return -ENOMEM;
        ++*n;
        return 0;
}

int accounts_names_add(struct accounts_names *n, char *const *users, char *const *unixgroups)
{
        int r = 0;

        for (; users && *users && r >= 0; users++)
                r = list_add(&n->users, &n->n_users, *users);
        for (; unixgroups && *unixgroups && r >= 0; unixgroups++)
                r = list_add(&n->unixgroups, &n->n_unixgroups, *unixgroups);
        return r;
}

struct accounts_answer *accounts_answer_free(struct accounts_answer *a)
{
        if (!a)
                return NULL;
        accounts_names_done(&a->names);
        free(a->users);
        free(a->members);
        free(a);
        return NULL;
}

struct record { /* room for what getpwnam_r(3) and the like return */
        char *room;
        size_t size;
};

static bool grow(struct record *r)
{
        const size_t size = r->size ? 2 * r->size : 4096;
        char *larger = size <= RECORD_BYTES_MAX ? realloc(r->room, size) : NULL;

        if (!larger)
                return false;
        r->room = larger;
        r->size = size;
        return true;
}

static bool find_user(struct record *r, const char *name, uid_t *ret)
{
        struct passwd pw, *found = NULL;
        int e;

        do
                e = getpwnam_r(name, &pw, r->room, r->size, &found);
        while (e == ERANGE && grow(r));
        if (e || !found)
                return false;
        *ret = pw.pw_uid;
        return true;
}

static int add_user(struct accounts_answer *a, const char *name, uid_t uid)
{
        struct rules_user *larger = reallocarray(a->users, a->n_users + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        a->users = larger;
        larger[a->n_users++] = (struct rules_user){.name = name, .uid = uid};
        return 0;
}

static int add_member(struct accounts_answer *a, const char *group, uid_t uid)
{
        struct rules_member *larger;

        for (size_t i = 0; i < a->n_members; i++)
                if (a->members[i].uid == uid && a->members[i].unixgroup == group)
                        return 0;
        larger = reallocarray(a->members, a->n_members + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        a->members = larger;
        larger[a->n_members++] = (struct rules_member){.unixgroup = group, .uid = uid};
        return 0;
}

struct group_ids { /* of the names asked for, in their order; has[i] false: there is no such group */
        gid_t *gid;
        bool *has;
};

static int ask_group(struct accounts_answer *a, struct record *r, struct record *member, size_t i,
                     struct group_ids *ids)
{
        const char *name = a->names.unixgroups[i];
        struct group gr, *found = NULL;
        int e, q = 0;

        do
                e = getgrnam_r(name, &gr, r->room, r->size, &found);
        while (e == ERANGE && grow(r));
        if (e || !found)
                return 0;
        ids->gid[i] = gr.gr_gid;
        ids->has[i] = true;
        for (char **m = gr.gr_mem; *m && q >= 0; m++) {
                uid_t uid;

                if (find_user(member, *m, &uid))
                        q = add_member(a, name, uid);
        }
        return q;
}

static int ask_person(struct accounts_answer *a, const struct group_ids *ids, const char *name, uid_t uid, gid_t gid)
{
        _cleanup_free_ gid_t *groups = NULL;
        int n = 64, r = 0;

        for (;;) {
                gid_t *larger = reallocarray(groups, (size_t)n, sizeof(*larger));
                int before = n;

                if (!larger)
                        return -ENOMEM;
                groups = larger;
                if (getgrouplist(name, gid, groups, &n) >= 0)
                        break;
                if (n <= before)
                        n = 2 * before;
                if (n > GROUPS_MAX)
                        return 0;
        }
        for (size_t i = 0; i < a->names.n_unixgroups && r >= 0; i++)
                for (int g = 0; ids->has[i] && g < n && r >= 0; g++)
                        if (groups[g] == ids->gid[i])
                                r = add_member(a, a->names.unixgroups[i], uid);
        return r;
}

static int ask_uid(struct accounts_answer *a, const struct group_ids *ids, struct record *r, uid_t uid)
{
        struct passwd pw, *found = NULL;
        int e;

        do
                e = getpwuid_r(uid, &pw, r->room, r->size, &found);
        while (e == ERANGE && grow(r));
        return e || !found ? 0 : ask_person(a, ids, pw.pw_name, uid, pw.pw_gid);
}

static int ask_sessions(struct accounts_answer *a, const struct group_ids *ids, struct record *r)
{
        DIR *d = opendir(SESSIONS);
        const struct dirent *e;
        uint64_t uid;
        int q = 0;

        while (d && q >= 0 && (e = readdir(d)))
                if (parse_u64(e->d_name, UINT32_MAX - 1, &uid) >= 0)
                        q = ask_uid(a, ids, r, (uid_t)uid);
        if (d)
                closedir(d);
        return q;
}

static int ask_local(struct accounts_answer *a, const struct group_ids *ids)
{
        _cleanup_file_ FILE *f = fopen("/etc/passwd", "re");
        const struct passwd *pw;
        int r = 0;

        while (f && r >= 0 && (pw = fgetpwent(f)))
                r = ask_person(a, ids, pw->pw_name, pw->pw_uid, pw->pw_gid);
        return r;
}

static void record_done(struct record *r)
{
        free(r->room);
}

static int ask_groups(struct accounts_answer *a, const uid_t *uids, size_t n_uids)
{
        _cleanup_free_ gid_t *gid = calloc(a->names.n_unixgroups + 1, sizeof(*gid));
        _cleanup_free_ bool *has = calloc(a->names.n_unixgroups + 1, sizeof(*has));
        _cleanup_(record_done) struct record r = {0}, member = {0};
        struct group_ids ids = {gid, has};
        int q = gid && has && grow(&r) && grow(&member) ? 0 : -ENOMEM;

        for (size_t i = 0; i < a->names.n_unixgroups && q >= 0; i++)
                q = ask_group(a, &r, &member, i, &ids);
        if (q >= 0)
                q = ask_local(a, &ids);
        if (q >= 0)
                q = ask_sessions(a, &ids, &r);
        for (size_t i = 0; i < n_uids && q >= 0; i++)
                q = ask_uid(a, &ids, &r, uids[i]);
        return q;
}

static int compare_members(const void *x, const void *y)
{
        const struct rules_member *a = x, *b = y;
        const int c = strcmp(a->unixgroup, b->unixgroup);

        return c ? c : a->uid < b->uid ? -1 : a->uid > b->uid;
}

int accounts_resolve(struct accounts_names *names, const uid_t *uids, size_t n_uids, struct accounts_answer **ret)
{
        struct accounts_answer *a = calloc(1, sizeof(*a));
        _cleanup_(record_done) struct record r = {0};
        uid_t uid;
        int q = 0;

        if (!a || !grow(&r)) {
                free(a);
                return -ENOMEM;
        }
        a->names = *names;
        *names = (struct accounts_names){0};
        for (size_t i = 0; i < a->names.n_users && q >= 0; i++)
                if (find_user(&r, a->names.users[i], &uid))
                        q = add_user(a, a->names.users[i], uid);
        if (q >= 0 && a->names.n_unixgroups > 0)
                q = ask_groups(a, uids, n_uids);
        if (q < 0) {
                accounts_answer_free(a);
                return q;
        }
        if (a->n_members > 0)
                qsort(a->members, a->n_members, sizeof(*a->members), compare_members);
        *ret = a;
        return 0;
}
