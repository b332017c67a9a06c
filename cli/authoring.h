/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What writing a policy at the desk needs: the files that are read, and the verbs of `policy`. */
#include "catalogue/catalogue.h"
#include "cli/cli.h"
#include "policy/policy.h"
#include "rules/review.h"
#include "rules/rules.h"

struct draft { /* a policy that nobody need have signed yet */
        struct policy *policy;
        struct catalogue *own; /* the organisation's own channels in it, or NULL */
        const char *file;
        char *text;
        size_t size;
};
void draft_done(struct draft *d);
#define _cleanup_draft_ _cleanup_(draft_done)

/* Both say what is wrong: STATUS_*. */
int draft_read(const struct cli *c, const char *path, struct draft *ret);
/* The same from d->text, which stays. */
int draft_parse(const struct cli *c, struct draft *d);
/* What would hit the innocent if the agent knew the own channels is an error. */
int draft_check_own(const struct cli *c, const struct draft *d);
/* A built file, or a folder of channel files. */
int catalogue_read(const struct cli *c, const char *path, struct catalogue **ret);
/* "--at TIME", or now when text is NULL. */
int time_read(const struct cli *c, const char *text, time_t *ret);

/* A list of devices: one a line, its name and then its tags; what follows '#' is a comment. */
struct devices {
        struct review_device *list;
        size_t n;
        char *text;
        char **words; /* tags, each device's list ended by NULL */
};
void devices_done(struct devices *d);
#define _cleanup_devices_ _cleanup_(devices_done)
int devices_read(const struct cli *c, const char *path, struct devices *ret);

/* Who is asked about. The draft is compiled as the agent on `device` would do it, for one login
 * name that has uid AUDIENCE_UID there; NULL is a device or user of no group. */
#define AUDIENCE_UID       1
#define AUDIENCE_WORDS_MAX 64 /* those behind are not looked at */
struct audience {
        const char *device; /* its tags behind it: "ws-0301:trading-floor" */
        const char *user; /* with the groups of the machine or directory: "anna:traders"; "-:traders" has no name */
        time_t now;
};
int draft_compile(const struct cli *c, const struct draft *d, const struct catalogue *catalogue,
                  const struct audience *a, struct ruleset **ret);

int command_policy_new(struct cli *c, int argc, char **argv);
int command_policy_diff(struct cli *c, int argc, char **argv);
int command_policy_test(struct cli *c, int argc, char **argv);
int command_policy_sign(struct cli *c, int argc, char **argv);
int command_policy_keys(struct cli *c, int argc, char **argv);
