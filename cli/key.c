/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/io.h"
#include "cli/cli.h"
#include "trust/trust.h"

static const char usage[] =
        "Usage: onchannel key new NAME [--password [--server]] [--force]\n"
        "Writes NAME.key (secret, mode 0600) and NAME.pub, as minisign does.\n"
        "  --password   encrypt the secret key; it is asked for, or read from standard input\n"
        "  --server     a key that a collector will hold: its password takes less memory to check\n"
        "  --force      replace existing files\n";

static void wipe(char **s)
{
        if (*s) {
                sodium_memzero(*s, strlen(*s));
                free(*s);
        }
}

struct key_options {
        bool ask, server, force;
};

static int write_pair(const struct cli *c, const char *name, const char *password, const struct key_options *o)
{
        _cleanup_free_ char *public_path = format_new("%s.pub", name), *secret_path = format_new("%s.key", name);
        _cleanup_free_ char *public = NULL;
        _cleanup_(wipe) char *secret = NULL;
        int r;

        if (!public_path || !secret_path)
                return cli_fail(c, STATUS_FAILED, "out of memory");
        if (!o->force && (access(secret_path, F_OK) == 0 || access(public_path, F_OK) == 0))
                return cli_fail(c, STATUS_FAILED, "'%s' or '%s' exists; --force replaces them", secret_path,
                                public_path);
        r = trust_key_new(password, o->server ? TRUST_COST_SERVER : TRUST_COST_OFFLINE, &secret, &public);
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot make a key: %s", strerror(-r));
        r = write_output(c, secret_path, secret, strlen(secret), 0600);
        if (r == STATUS_OK)
                r = write_output(c, public_path, public, strlen(public), 0644);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s}", "ok", 1, "secret", secret_path, "public", public_path));
        printf("%s  %s; who has it can approve channels\n%s  goes to the keys folder of every device\n", secret_path,
               o->server ? "goes to the collector alone" : "keep it offline", public_path);
        return STATUS_OK;
}

static int command_new(struct cli *c, int argc, char **argv)
{
        struct key_options o = {0};
        const struct cli_option options[] = {
                {"password", 0, NULL, &o.ask}, {"server", 0, NULL, &o.server}, {"force", 0, NULL, &o.force}, {0}};
        _cleanup_(wipe) char *password = NULL;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || (o.server && !o.ask))
                return cli_usage(c, r);
        if (o.ask && (read_password("Password for the new key: ", &password) < 0 || !*password))
                return cli_fail(c, STATUS_FAILED, "no password was given");
        return write_pair(c, argv[0], password, &o);
}

int command_key(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {{"new", command_new}, {0}};

        c->usage = usage;
        return cli_dispatch(c, verbs, argc, argv);
}
