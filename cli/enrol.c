/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define UPLINK_PROGRAM "onchannel-uplink"

static const char usage[] = "Usage: onchannel enrol URL --token T --ca FILE [--config FILE]\n"
                            "Makes this device known to a collector, once. Runs onchannel-uplink enrol.\n"
                            "  --token T       one-time token from 'onchannel-collector token'\n"
                            "  --ca FILE       the collector's CA certificate\n"
                            "  --config FILE   the agent's configuration\n";

int command_enrol(struct cli *c, int argc, char **argv)
{
        const char *token = NULL, *ca = NULL, *config = "/etc/onchannel/agent.ini";
        const struct cli_option options[] = {
                {"token", 0, &token, NULL}, {"ca", 0, &ca, NULL}, {"config", 'c', &config, NULL}, {0}};
        int r;

        c->usage = usage;
        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !token || !ca)
                return cli_usage(c, r);
        execlp(UPLINK_PROGRAM, UPLINK_PROGRAM, "enrol", "--config", config, "--token", token, "--ca", ca, argv[0],
               (char *)NULL);
        return cli_fail(c, STATUS_FAILED, "cannot start '" UPLINK_PROGRAM "': %s", strerror(errno));
}
