/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cli.h"

#define UPLINK_PROGRAM "onchannel-uplink"

static const char usage[] =
        "Usage: onchannel enrol URL --token T --ca FILE [--config FILE]\n"
        "       onchannel enrol URL --certificate FILE --key FILE --ca FILE [--config FILE]\n"
        "Makes this device known to a collector, once. Runs onchannel-uplink enrol.\n"
        "  --token T       one-time token from 'onchannel-collector token'\n"
        "  --certificate FILE, --key FILE\n"
        "                  in place of a token: this device's certificate of the firm's authority\n"
        "  --ca FILE       the collector's CA certificate\n"
        "  --config FILE   the agent's configuration\n";

int command_enrol(struct cli *c, int argc, char **argv)
{
        const char *token = NULL, *certificate = NULL, *key = NULL, *ca = NULL, *config = "/etc/onchannel/agent.ini";
        const struct cli_option options[] = {{"token", 0, &token, NULL},     {"certificate", 0, &certificate, NULL},
                                             {"key", 0, &key, NULL},         {"ca", 0, &ca, NULL},
                                             {"config", 'c', &config, NULL}, {0}};
        const char *names[] = {"--token", "--certificate", "--key", "--ca", "--config"};
        const char *arguments[2 + 2 * ELEMENTSOF(names) + 2] = {UPLINK_PROGRAM, "enrol"};
        size_t n = 2;
        int r;

        c->usage = usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !ca || !certificate != !key || !token == !certificate)
                return cli_usage(c, r);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (*options[i].value) {
                        arguments[n++] = names[i];
                        arguments[n++] = *options[i].value;
                }
        arguments[n] = argv[0];
        execvp(UPLINK_PROGRAM, (char *const *)arguments);
        return cli_fail(c, STATUS_FAILED, "cannot start '" UPLINK_PROGRAM "': %s", strerror(errno));
}
