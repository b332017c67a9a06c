/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/version.h"
#include "collector/command.h"

static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *arguments, *help;
} commands[] = {
        {"init", command_init, "DIR [options]",
         "make a collector's folder: keys, certificates, database, first admin\n"
         "      --name HOST          a name or address at which the collector is reached (repeatable;\n"
         "                           localhost, 127.0.0.1, ::1 and this host's name are always there)\n"
         "      --agents ADDR:PORT   where agents connect (default *:8443)\n"
         "      --page ADDR:PORT     where the page is (default *:8444)\n"
         "      --store URL          postgresql://…: keep everything there (default: DIR/collector.db, SQLite)\n"
         "      --admin USER         the first admin's name (default admin)\n"
         "      --password-file FILE its first line is the admin's password; default: one is made and shown\n"
         "      --exemption-key FILE a key with a password, with which admins sign exemptions on the page"},
        {"serve", command_serve, "DIR", "run the collector until SIGTERM or SIGINT"},
        {"backup", command_backup, "DIR TARGET", "copy everything into a new folder, while the server runs"},
        {"restore", command_restore, "DIR BACKUP",
         "make a collector's folder from a backup; PostgreSQL: into its empty database"},
        {"migrate", command_migrate, "DIR",
         "bring the database of an older version up to date; stop the server before"},
        {"retention", command_retention, "DIR [options] | DIR run [--dry-run] | DIR remove NUMBER",
         "by which rules records are kept, or a new one; remove now what is older (the server does so by and by)\n"
         "      --months N           months after the month in which a record came; 0: for ever (default)\n"
         "      --class CLASS, --channel ID, --device PATTERN   only of these: the most specific rule holds\n"
         "      --dry-run            only say what would be removed, by these rules and the new one"},
        {"hold", command_hold, "DIR list | DIR add [options] | DIR release NUMBER",
         "keep records whatever their age: a legal hold\n"
         "      --user NAME, --device DEVICE, --channel ID, --from TIME, --to TIME   about what\n"
         "      --reason TEXT        for the audit"},
        {"erase", command_erase, "DIR [options]",
         "take the content out of records and leave their place in the chain; options as for hold"},
        {"forward", command_forward, "DIR", "how far records have got to the systems named in collector.ini"},
        {"token", command_token, "DIR [options]",
         "print a token with which devices enrol\n"
         "      --uses N             how many devices may use it (default 1)\n"
         "      --hours N            how long it is valid (default 24)\n"
         "      --replaces NAME      who enrols with it as NAME takes the place of the device of that name"},
        {"user", command_user, "DIR list | DIR add NAME --role ROLE [options] | DIR remove NAME",
         "who may use the page; add a user, or give one a new password; remove one. Either ends their sessions\n"
         "      --role ROLE          auditor or admin\n"
         "      --password-file FILE its first line is the password; default: one is made and shown"},
        {"device", command_device, "DIR list | DIR retire DEVICE | DIR revoke DEVICE",
         "list devices; or refuse one from now on (its records stay, its name is free again); or its key as well, "
         "for "
         "ever"},
        {"certificate", command_certificate, "DIR [show | renew | next | switch [--force]]",
         "when the collector's own certificates end; renew that of the server; make its next authority, which "
         "agents\n"
         "      are told of, and switch to it when they know it (--force: although some do not)"},
        {"policy", command_policy, "DIR FILE", "hand a policy to the agents; FILE.minisig is its signature"},
        {"log", command_log, "DIR", "print the verifier key of this collector's log, for witnesses and auditors"},
        {"witness", command_witness, "DIR list | DIR add KEY | DIR remove NAME",
         "whose cosignatures of the log are kept"},
        {"check", command_check, "DIR",
         "hash everything anew: records, seals, log, tiles, audit; says which does not fit"},
        {"export", command_export, "DIR [options]",
         "write an evidence bundle to standard output\n"
         "      --from TIME          not older: 2026-11-21 or 2026-11-21T08:00:00Z\n"
         "      --to TIME            older\n"
         "      --device DEVICE      id or name\n"
         "      --user USER\n"
         "      --channel ID         of violations; coverage is always in it"},
        {"catalogue", command_catalogue, "DIR FILE", "hand a catalogue to the agents; FILE.minisig is its signature"},
        {"exemption", command_exemption, "DIR FILE | DIR list | DIR key FILE",
         "hand an exemption, a break-glass token or a revocation to the devices that it names; FILE.minisig is its "
         "signature\n"
         "      key FILE             let admins sign on the page with this key, which has a password; 'none': no "
         "more"},
        {"rollout", command_rollout,
         "DIR start FILE --back FILE [options] | DIR widen [options] | DIR status|finish|back",
         "give a policy to some devices first: start, watch, widen, then give it to everyone or turn back\n"
         "      --share PERCENT      of all devices, always the same ones\n"
         "      --device PATTERN     and those with such a name (repeatable)\n"
         "      --back FILE          the rules of before, signed with a higher serial: what 'back' hands out\n"
         "      --json               of status"},
};

static void usage(FILE *out)
{
        fprintf(out, "Usage: onchannel-collector COMMAND DIR …\n\n"
                     "Collects the reports of onchannel's agents and shows them to auditors.\n\nCommands:\n");
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                fprintf(out, "  %s %s\n      %s\n", commands[i].name, commands[i].arguments, commands[i].help);
        fprintf(out, "\n  --help, --version\n\nExit status: 0 done, 1 failed, 2 wrong usage.\n");
}

static int fail_list(const char *format, va_list list)
{
        char text[1024];

        vsnprintf(text, sizeof(text), format, list);
        fprintf(stderr, "onchannel-collector: %s\n", text);
        return EXIT_FAILURE;
}

int fail_with(const char *format, ...)
{
        va_list list;

        va_start(list, format);
        fail_list(format, list);
        va_end(list);
        return EXIT_FAILURE;
}

int fail_usage(const char *format, ...)
{
        va_list list;

        va_start(list, format);
        fail_list(format, list);
        va_end(list);
        fprintf(stderr, "'onchannel-collector --help' explains the commands.\n");
        return EXIT_USAGE;
}

int fail(const struct diag *d)
{
        char text[DIAG_FILE_MAX + DIAG_TEXT_MAX + 32];

        return fail_with("%s", diag_format(d, text, sizeof(text)));
}

int main(int argc, char **argv)
{
        if (argc < 2)
                return fail_usage("a command is needed");
        if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
                usage(stdout);
                return EXIT_SUCCESS;
        }
        if (strcmp(argv[1], "--version") == 0) {
                printf("onchannel-collector %s\n", onchannel_version);
                return EXIT_SUCCESS;
        }
        if (sodium_init() < 0)
                return fail_with("libsodium cannot start");
        umask(077);
        log_set_name("onchannel-collector");
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                if (strcmp(commands[i].name, argv[1]) == 0)
                        return commands[i].run(argc - 1, argv + 1);
        return fail_usage("there is no command '%s'", argv[1]);
}
