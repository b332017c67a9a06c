/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/signing.h"

#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "trust/trust.h"

/* What stands there must be signatures of this file's bytes by somebody: their keys are not at hand. */
static int read_signatures(const struct cli *c, const struct signing *s, const char *path, char **ret)
{
        struct trust_signature list[TRUST_SIGNATURES_MAX];
        uint8_t stranger[8];
        struct diag d = {0};
        size_t size, n;
        int r;

        r = read_input(c, path, TRUST_SIGNATURE_MAX_BYTES, ret, &size);
        if (r != STATUS_OK)
                return r;
        r = trust_verify(NULL, 0, &(struct trust_file){path, s->data, s->size, *ret, size}, list, &n, stranger, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}

static int make_signature(const struct cli *c, const struct signing *s, char **ret, char **ret_comment)
{
        _cleanup_(trust_secret_done) struct trust_secret secret = {0};
        const time_t now = time(NULL);
        int r;

        r = read_secret(c, s->key, &secret);
        if (r != STATUS_OK)
                return r;
        *ret_comment = s->until && now > s->until ? strdup(s->what) : trust_comment_new(s->what, now);
        r = *ret_comment ? trust_sign(&secret, s->data, s->size, *ret_comment, ret) : -ENOMEM;
        return r < 0 ? cli_fail(c, STATUS_FAILED, "cannot sign '%s': %s", s->file, strerror(-r)) : STATUS_OK;
}

int sign_file(const struct cli *c, const struct signing *s, char **ret_comment)
{
        _cleanup_free_ char *path = format_new("%s.minisig", s->file), *one = NULL, *before = NULL, *all = NULL;
        _cleanup_free_ char *comment = NULL;
        int r;

        if (!path)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        r = s->add ? read_signatures(c, s, path, &before) : STATUS_OK;
        if (r == STATUS_OK)
                r = make_signature(c, s, &one, &comment);
        if (r != STATUS_OK)
                return r;
        all = format_new("%s%s", before ? before : "", one);
        if (!all)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        if (strlen(all) > TRUST_SIGNATURE_MAX_BYTES)
                return cli_fail(c, STATUS_FAILED, "'%s' holds too many signatures", path);
        /* the signature first: whoever sees the new file finds one that fits */
        r = write_output(c, path, all, strlen(all), 0644);
        if (r == STATUS_OK && s->write_data)
                r = write_output(c, s->file, s->data, s->size, 0644);
        if (r == STATUS_OK)
                *ret_comment = TAKE_PTR(comment);
        return r;
}
