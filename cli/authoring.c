/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/authoring.h"

#include <string.h>

#include "base/text.h"

void draft_done(struct draft *d)
{
        policy_free(d->policy);
        *d = (struct draft){0};
}

int draft_read(const struct cli *c, const char *path, struct draft *ret)
{
        _cleanup_free_ char *text = NULL;
        struct diag d = {0};
        size_t size;
        int r;

        r = read_input(c, path, POLICY_MAX_BYTES, &text, &size);
        if (r != STATUS_OK)
                return r;
        ret->file = path;
        r = policy_parse(text, size, path, &ret->policy, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}

int catalogue_read(const struct cli *c, const char *path, struct catalogue **ret)
{
        _cleanup_free_ char *text = NULL;
        struct diag d = {0};
        size_t size;
        int r;

        r = read_input(c, path, CATALOGUE_MAX_BYTES, &text, &size);
        if (r != STATUS_OK)
                return r;
        r = catalogue_parse_built(text, size, path, ret, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}

int time_read(const struct cli *c, const char *text, time_t *ret)
{
        if (!text)
                *ret = time(NULL);
        else if (time_parse(text, ret) < 0)
                return cli_fail(c, STATUS_FAILED, "'%s' is no time like 2027-02-21T00:00:00Z", text);
        return STATUS_OK;
}

int draft_compile(const struct cli *c, const struct draft *d, const struct catalogue *catalogue,
                  const struct audience *a, struct ruleset **ret)
{
        const struct rules_user user = {a->user, AUDIENCE_UID};
        const struct rules_input in = {.catalogue = catalogue,
                                       .policy = d->policy,
                                       .policy_file = d->file,
                                       .device = a->device,
                                       .now = a->now,
                                       .users = &user,
                                       .n_users = a->user ? 1 : 0};
        struct diag diag = {0};
        int r;

        r = rules_compile(&in, ret, &diag);
        return r < 0 ? cli_fail_diag(c, &diag, r) : STATUS_OK;
}
