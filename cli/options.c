/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "cli/cli.h"

#define OPTIONS_MAX 24 /* of one subcommand */
#define FIRST_VALUE 256 /* getopt's number of the subcommand's first option */

enum { OPTION_JSON = 1, OPTION_SOCKET, OPTION_HELP };

static void take(const struct cli_option *o, const char *value)
{
        if (o->flag)
                *o->flag = true;
        else
                *o->value = value;
}

static const struct cli_option *option_of(const struct cli_option *options, int c)
{
        if (c >= FIRST_VALUE)
                return &options[c - FIRST_VALUE];
        for (const struct cli_option *o = options; o && o->name; o++)
                if (o->letter == c)
                        return o;
        return NULL;
}

int cli_options(struct cli *c, const struct cli_option *options, int *argc, char ***argv)
{
        struct option list[OPTIONS_MAX + 4] = {
                {"json", no_argument, NULL, OPTION_JSON},
                {"socket", required_argument, NULL, OPTION_SOCKET},
                {"help", no_argument, NULL, OPTION_HELP},
        };
        char letters[2 * OPTIONS_MAX + 2] = "h", *p = letters + 1;
        int n = 3, value;

        for (int i = 0; options && options[i].name && i < OPTIONS_MAX; i++) {
                list[n++] = (struct option){options[i].name, options[i].flag ? no_argument : required_argument, NULL,
                                            FIRST_VALUE + i};
                if (options[i].letter) {
                        *p++ = options[i].letter;
                        if (!options[i].flag)
                                *p++ = ':';
                }
        }
        (*argv)[0] = (char *)"onchannel"; /* not the subcommand: getopt's complaints begin with it */
        optind = 1;
        while ((value = getopt_long(*argc, *argv, letters, list, NULL)) >= 0) {
                if (value == OPTION_JSON)
                        c->json = true;
                else if (value == OPTION_SOCKET)
                        c->socket = optarg;
                else if (value == OPTION_HELP || value == 'h') {
                        fputs(c->usage, stdout);
                        return -ECANCELED;
                } else {
                        const struct cli_option *o = option_of(options, value);

                        if (value == '?' || !o)
                                return -EINVAL;
                        take(o, optarg);
                }
        }
        *argc -= optind;
        *argv += optind;
        return 0;
}

int cli_usage(const struct cli *c, int r)
{
        if (r == -ECANCELED)
                return STATUS_OK;
        fputs(c->usage, stderr);
        return STATUS_USAGE;
}

int cli_dispatch(struct cli *c, const struct cli_verb *list, int argc, char **argv)
{
        if (argc >= 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
                return fputs(c->usage, stdout) < 0 ? STATUS_FAILED : STATUS_OK;
        for (; argc >= 2 && list->name; list++)
                if (!strcmp(argv[1], list->name))
                        return list->run(c, argc - 1, argv + 1);
        return cli_usage(c, -EINVAL);
}
