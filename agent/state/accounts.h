/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Login names and groups of this machine and its directory -> uids, by NSS. A directory may not answer for minutes,
 * so that is asked in a thread, and what it said last holds until it answers again. Runs as root. */
#include <systemd/sd-event.h>
#include "rules/rules.h"

#define ACCOUNTS_UIDS_MAX  1024 /* people met that no list of accounts shows */
#define ACCOUNTS_WAIT_MS   500 /* how long a new policy waits for an answer */
#define ACCOUNTS_REFRESH_S 300

struct accounts_names { /* what is asked: unique names, owned */
        char **users, **unixgroups; /* NULL-terminated, or NULL */
        size_t n_users, n_unixgroups;
};
int accounts_names_add(struct accounts_names *n, char *const *users, char *const *unixgroups);
void accounts_names_done(struct accounts_names *n);

struct accounts_answer { /* refers to its own names */
        struct accounts_names names;
        struct rules_user *users;
        size_t n_users;
        struct rules_member *members;
        size_t n_members;
};
/* Ask here and now, waiting for whatever NSS waits for; takes the names. Members of a group are those that it lists, and
 * those of the accounts in /etc/passwd, of people logged in and of `uids` who have it among their groups. */
int accounts_resolve(struct accounts_names *names, const uid_t *uids, size_t n_uids, struct accounts_answer **ret);
struct accounts_answer *accounts_answer_free(struct accounts_answer *a);

struct accounts;
/* `changed` is called in the loop when the answer differs from what accounts_ask() gave. */
int accounts_new(sd_event *event, void (*changed)(void *userdata), void *userdata, struct accounts **ret);
struct accounts *accounts_free(struct accounts *a);
/* What is known about these names (taken), after at most ACCOUNTS_WAIT_MS; valid until the next call. */
const struct accounts_answer *accounts_ask(struct accounts *a, struct accounts_names *names);
/* Somebody is at work whom no list may have shown. */
void accounts_meet(struct accounts *a, uid_t uid);
