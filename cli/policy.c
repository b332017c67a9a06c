/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/cli.h"
#include "policy/policy.h"
#include "rules/rules.h"
#include "trust/trust.h"

static const char usage[] =
        "Usage: onchannel policy check FILE [--catalogue FILE] [--json]\n"
        "       onchannel policy sign FILE --key SECRET\n"
        "       onchannel policy install FILE [--incoming DIR]\n"
        "check    reads a policy; with a built catalogue also whether it knows the channels\n"
        "sign     writes FILE.minisig, as 'minisign -S' would\n"
        "install  hands FILE and FILE.minisig to the agent on this machine, and waits for its answer\n";

static int read_policy(const struct cli *c, const char *path, char **ret_text, size_t *ret_size, struct policy **ret)
{
        struct diag d = {0};
        int r;

        r = read_input(c, path, POLICY_MAX_BYTES, ret_text, ret_size);
        if (r != STATUS_OK)
                return r;
        r = policy_parse(*ret_text, *ret_size, path, ret, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}

static int compile_with(const struct cli *c, const struct policy *p, const char *file, const char *catalogue_file)
{
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        _cleanup_ruleset_ struct ruleset *rules = NULL;
        _cleanup_free_ char *text = NULL;
        struct rules_input in;
        struct diag d = {0};
        size_t size;
        int r;

        r = read_input(c, catalogue_file, CATALOGUE_MAX_BYTES, &text, &size);
        if (r != STATUS_OK)
                return r;
        r = catalogue_parse_built(text, size, catalogue_file, &catalogue, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        in = (struct rules_input){
                .catalogue = catalogue, .policy = p, .policy_file = file, .device = "", .now = time(NULL)};
        r = rules_compile(&in, &rules, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}

static int command_check(struct cli *c, int argc, char **argv)
{
        const char *catalogue = NULL;
        const struct cli_option options[] = {{"catalogue", 0, &catalogue, NULL}, {0}};
        _cleanup_policy_ struct policy *p = NULL;
        _cleanup_free_ char *text = NULL;
        char expires[TIME_TEXT_MAX];
        size_t size;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1)
                return cli_usage(c, r);
        r = read_policy(c, argv[0], &text, &size, &p);
        if (r == STATUS_OK && catalogue)
                r = compile_with(c, p, argv[0], catalogue);
        if (r != STATUS_OK)
                return r;
        time_format(p->expires, expires);
        if (c->json)
                return print_json(json_pack("{s:b,s:I,s:s,s:s,s:s,s:b}", "ok", 1, "serial", (json_int_t)p->serial,
                                            "organisation", p->organisation, "mode", policy_mode_to_string(p->mode),
                                            "expires", expires, "catalogue_checked", catalogue != NULL));
        printf("%s: OK, serial %" PRIu64 ", mode %s, expires %s%s\n", argv[0], p->serial,
               policy_mode_to_string(p->mode), expires, p->expires <= time(NULL) ? " (that is over)" : "");
        return STATUS_OK;
}

static int command_sign(struct cli *c, int argc, char **argv)
{
        const char *key = NULL;
        const struct cli_option options[] = {{"key", 0, &key, NULL}, {0}};
        _cleanup_(trust_secret_done) struct trust_secret secret = {0};
        _cleanup_free_ char *text = NULL, *comment = NULL, *minisig = NULL, *path = NULL;
        _cleanup_policy_ struct policy *p = NULL;
        size_t size;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !key)
                return cli_usage(c, r);
        r = read_policy(c, argv[0], &text, &size, &p);
        if (r == STATUS_OK)
                r = read_secret(c, key, &secret);
        if (r != STATUS_OK)
                return r;
        path = format_new("%s.minisig", argv[0]);
        r = path ? policy_comment_new(p, &comment) : -ENOMEM;
        if (r >= 0)
                r = trust_sign(&secret, text, size, comment, &minisig);
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot sign '%s': %s", argv[0], strerror(-r));
        r = write_output(c, path, minisig, strlen(minisig), 0644);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s}", "ok", 1, "signature", path, "comment", comment));
        printf("%s: %s\n", path, comment);
        return STATUS_OK;
}

int command_policy(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {
                {"check", command_check},
                {"sign", command_sign},
                {"install", command_policy_install},
                {0},
        };

        c->usage = usage;
        return cli_dispatch(c, verbs, argc, argv);
}
