/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/catalogue.h"
#include "trust/trust.h"

static const char usage[] =
        "Usage: onchannel catalogue check DIR|FILE… [--json]\n"
        "       onchannel catalogue build -o FILE [--version V] [--serial N] [--key SECRET] DIR\n"
        "       onchannel catalogue show CATALOGUE [CHANNEL | --summary]\n"
        "       onchannel catalogue search TEXT [--catalogue CATALOGUE]\n"
        "       onchannel catalogue diff A B [--policy FILE] [--device NAME] [--user NAME]\n"
        "       onchannel catalogue install FILE [--incoming DIR]\n"
        "check    reads channel files and says what is wrong or careless in them\n"
        "build    makes one file of a folder, signed to FILE.minisig with --key\n"
        "show     lists channels, the entries of one, or a table by category and evidence\n"
        "search   finds channels by name, vendor, category, or by what they are known by\n"
        "diff     what changes from catalogue A to B; with a policy also whose verdicts change\n"
        "install  hands FILE and FILE.minisig to the agent on this machine, and waits for its answer\n"
        "CATALOGUE is a built file or a folder of channel files (search: " CLI_CATALOGUE ").\n"
        "  -o, --output FILE   where to write\n"
        "  --version V         for people, by default today's date\n"
        "  --serial N          for the agent, which takes higher ones only (default: the time in seconds)\n"
        "  --device, --user    verdicts on that device, of that user (default: everyone the policy names)\n";

static int command_check(struct cli *c, int argc, char **argv)
{
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        _cleanup_sources_ struct sources s = {0};
        unsigned warnings;
        struct diag d = {0};
        json_t *list = NULL;
        int r, errors;

        r = cli_options(c, NULL, &argc, &argv);
        if (r < 0 || argc == 0)
                return cli_usage(c, r);
        r = read_sources(c, argc, argv, &s);
        if (r != STATUS_OK)
                return r;
        r = catalogue_parse_files(s.list, s.n, &catalogue, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        list = c->json ? json_array() : NULL;
        r = check_catalogue(c, catalogue, list, &errors, &warnings);
        if (r != STATUS_OK) {
                json_decref(list);
                return r;
        }
        if (c->json)
                print_json(json_pack("{s:b,s:I,s:I,s:o}", "ok", errors == 0, "channels",
                                     (json_int_t)catalogue->n_channels, "errors", (json_int_t)errors, "findings",
                                     list));
        else
                printf("%zu channels, %d errors, %u warnings\n", catalogue->n_channels, errors, warnings);
        return errors == 0 ? STATUS_OK : STATUS_FAILED;
}

struct build {
        const char *output, *version, *serial, *key;
};

static int sign_catalogue(const struct cli *c, const struct build *b, const char *text, size_t size)
{
        _cleanup_(trust_secret_done) struct trust_secret secret = {0};
        _cleanup_free_ char *comment = NULL, *minisig = NULL, *path = NULL;
        int r;

        r = read_secret(c, b->key, &secret);
        if (r != STATUS_OK)
                return r;
        comment = format_new("onchannel catalogue version=%s serial=%s", b->version, b->serial);
        path = format_new("%s.minisig", b->output);
        r = comment && path ? trust_sign(&secret, text, size, comment, &minisig) : -ENOMEM;
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot sign: %s", strerror(-r));
        return write_output(c, path, minisig, strlen(minisig), 0644);
}

static int build_to(const struct cli *c, const struct build *b, const struct sources *s)
{
        _cleanup_free_ char *text = NULL;
        struct diag d = {0};
        uint64_t serial;
        size_t size;
        int r;

        if (parse_u64(b->serial, INT64_MAX, &serial) < 0)
                return cli_fail(c, STATUS_USAGE, "'%s' is no serial number", b->serial);
        r = catalogue_build(s->list, s->n, b->version, serial, &text, &size, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        /* the signature first: whoever sees the new file finds one that fits */
        r = b->key ? sign_catalogue(c, b, text, size) : STATUS_OK;
        if (r == STATUS_OK)
                r = write_output(c, b->output, text, size, 0644);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s,s:I,s:b}", "ok", 1, "file", b->output, "version",
                                            b->version, "serial", (json_int_t)serial, "signed", b->key != NULL));
        printf("%s: version %s, serial %s, %zu channels%s\n", b->output, b->version, b->serial, s->n,
               b->key ? ", signed" : "");
        return STATUS_OK;
}

static int command_build(struct cli *c, int argc, char **argv)
{
        _cleanup_sources_ struct sources s = {0};
        struct build b = {0};
        const struct cli_option options[] = {{"output", 'o', &b.output, NULL},
                                             {"version", 0, &b.version, NULL},
                                             {"serial", 0, &b.serial, NULL},
                                             {"key", 0, &b.key, NULL},
                                             {0}};
        char today[16], now[24];
        time_t t = time(NULL);
        struct tm tm;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !b.output)
                return cli_usage(c, r);
        strftime(today, sizeof(today), "%Y.%m.%d", gmtime_r(&t, &tm));
        snprintf(now, sizeof(now), "%" PRId64, (int64_t)t);
        b.version = b.version ? b.version : today;
        b.serial = b.serial ? b.serial : now;
        r = read_sources(c, argc, argv, &s);
        return r == STATUS_OK ? build_to(c, &b, &s) : r;
}

int command_catalogue(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {
                {"check", command_check},
                {"build", command_build},
                {"show", catalogue_command_show},
                {"search", catalogue_command_search},
                {"diff", catalogue_command_diff},
                {"install", command_catalogue_install},
                {0},
        };

        c->usage = usage;
        return cli_dispatch(c, verbs, argc, argv);
}
