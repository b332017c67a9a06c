/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Exemptions and break-glass tokens: making signed files, and handing them to the agent. */
#include "cli/cli.h"
#include "policy/exemption.h"

struct grant_options { /* as given; lists are words with commas between */
        const char *key, *id, *channels, *users, *unixgroups, *devices, *revokes;
        const char *from, *until, *lasting; /* "8h" */
        const char *reason, *approver;
};
/* Writes and signs FILE; prints what it is, and with `token` also as one line of text. STATUS_*. */
int grant_write(const struct cli *c, enum exemption_kind kind, const struct grant_options *o, const char *file,
                bool token);
/* Signs FILE as it is, after a look whether agents would read it. STATUS_*. */
int grant_sign(const struct cli *c, const char *file, const char *key, bool add);
/* FILE with its FILE.minisig, or from "-" a token, to the agent; waits for its answer. STATUS_*. */
int grant_install(const struct cli *c, const char *file);
/* "90m", "8h", "3d" in seconds. -EINVAL. */
int duration_parse(const char *text, uint64_t *ret_s);
