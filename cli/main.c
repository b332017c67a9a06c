/* SPDX-License-Identifier: GPL-3.0-or-later */
/* onchannel(1): a table of subcommands. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "cli/cli.h"

#define ARGUMENTS_WIDTH   30
#define ELLIPSIS_BYTES(s) (strstr((s), "…") ? 2 : 0) /* more than the column that it takes */

static const struct {
        const char *name;
        cli_command run;
        const char *arguments;
        const char *summary;
} commands[] = {
        {"status", command_status, "", "what the agent on this machine does"},
        {"why", command_why, "SUBJECT", "which rule decides about a name, address or program"},
        {"notices", command_notices, "[--follow]", "what you were told lately"},
        {"my-data", command_my_data, "", "what is recorded about you on this machine"},
        {"catalogue", command_catalogue, "check|build|show|diff …", "channel files and built catalogues"},
        {"policy", command_policy, "new|check|diff|test|sign …", "the signed policy"},
        {"exemption", command_exemption, "grant|revoke|install|list …", "who may use what, for a while"},
        {"break-glass", command_break_glass, "make|use FILE", "put a device that is cut off into mode monitor"},
        {"request", command_request, "CHANNEL --reason TEXT", "ask to be exempted"},
        {"key", command_key, "new NAME", "key pairs to sign with"},
        {"enrol", command_enrol, "URL --token T --ca FILE", "make this device known to a collector"},
        {"evidence", command_evidence, "verify|export|witness …", "get records with their proof, and check them"},
};

static void print_usage(FILE *f)
{
        fputs("Usage: onchannel COMMAND [ARGUMENT…]\n\n", f);
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                fprintf(f, "  %-11s %-*s  %s\n", commands[i].name,
                        ARGUMENTS_WIDTH + ELLIPSIS_BYTES(commands[i].arguments), commands[i].arguments,
                        commands[i].summary);
        fputs("\nEvery command takes --json (for programs), --socket PATH (of the agent) and --help.\n"
              "Exit status: 0 done, 1 failed or refused, 2 usage, 3 the agent is not running.\n",
              f);
}

int main(int argc, char **argv)
{
        struct cli c = {.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), .socket = CLI_SOCKET};

        if (sodium_init() < 0)
                return STATUS_FAILED;
        if (argc < 2) {
                print_usage(stderr);
                return STATUS_USAGE;
        }
        if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
                print_usage(stdout);
                return STATUS_OK;
        }
        if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
                printf("onchannel %s\n", onchannel_version);
                return STATUS_OK;
        }
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                if (!strcmp(argv[1], commands[i].name))
                        return commands[i].run(&c, argc - 1, argv + 1);
        fprintf(stderr, "onchannel: unknown command '%s'; try 'onchannel --help'\n", argv[1]);
        return STATUS_USAGE;
}
