/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `onchannel policy sign`: the signature, over the organisation's own channels as well. */
#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "cli/authoring.h"
#include "cli/catalogue.h"
#include "cli/signing.h"

struct sign {
        const char *file, *key, *channels, *output, *catalogue;
        bool add;
};

/* Puts the channel files into the text that will be signed. */
static int embed(const struct cli *c, const struct sign *o, struct draft *p)
{
        _cleanup_sources_ struct sources s = {0};
        struct diag d = {0};
        size_t size;
        char *text;
        int r;

        r = read_sources(c, 1, (char **)&o->channels, &s);
        if (r != STATUS_OK)
                return r;
        r = catalogue_embed(p->text, p->size, s.list, s.n, &text, &size, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        draft_done(p);
        p->text = text;
        p->size = size;
        p->file = o->output;
        return draft_parse(c, p);
}

static int write_signed(const struct cli *c, const struct sign *o, const struct draft *p)
{
        struct signing g = {.file = o->output ? o->output : o->file,
                            .key = o->key,
                            .data = p->text,
                            .size = p->size,
                            .until = p->policy->expires,
                            .add = o->add,
                            .write_data = o->output};
        _cleanup_free_ char *path = format_new("%s.minisig", g.file), *what = NULL, *comment = NULL;
        int r;

        if (!path || policy_comment_new(p->policy, &what) < 0)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        g.what = what;
        r = sign_file(c, &g, &comment);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s,s:s,s:I}", "ok", 1, "file", g.file, "signature", path,
                                            "comment", comment, "own_channels",
                                            (json_int_t)(p->own ? p->own->n_channels : 0)));
        printf("%s: %s\n", path, comment);
        return STATUS_OK;
}

static int compile_with(const struct cli *c, const struct draft *p, const char *catalogue_file)
{
        const struct audience everyone = {.now = time(NULL)};
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        _cleanup_ruleset_ struct ruleset *rules = NULL;
        int r = catalogue_read(c, catalogue_file, &catalogue);

        return r == STATUS_OK ? draft_compile(c, p, catalogue, &everyone, &rules) : r;
}

int command_policy_sign(struct cli *c, int argc, char **argv)
{
        struct sign o = {0};
        const struct cli_option options[] = {{"key", 0, &o.key, NULL},         {"channels", 0, &o.channels, NULL},
                                             {"output", 'o', &o.output, NULL}, {"catalogue", 0, &o.catalogue, NULL},
                                             {"add", 0, NULL, &o.add},         {0}};
        _cleanup_draft_ struct draft p = {0};
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !o.key || !o.channels != !o.output || (o.add && o.channels))
                return cli_usage(c, r);
        o.file = argv[0];
        r = draft_read(c, o.file, &p);
        if (r == STATUS_OK && o.channels)
                r = embed(c, &o, &p);
        if (r == STATUS_OK && p.size > POLICY_MAX_BYTES)
                r = cli_fail(c, STATUS_FAILED, "larger than %u bytes with its channel files", POLICY_MAX_BYTES);
        if (r == STATUS_OK)
                r = draft_check_own(c, &p);
        if (r == STATUS_OK && o.catalogue)
                r = compile_with(c, &p, o.catalogue);
        return r == STATUS_OK ? write_signed(c, &o, &p) : r;
}
