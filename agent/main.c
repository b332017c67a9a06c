/* SPDX-License-Identifier: GPL-3.0-or-later */
/* onchanneld(8): options, and the plain list of what is started and ended in which order. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "agent/daemon.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/version.h"

#define DEFAULT_CONFIG "/etc/onchannel/agent.ini"

static const char usage[] =
        "Usage: onchanneld [OPTION…]            run the agent\n"
        "       onchanneld release [OPTION…]    take enforcement off this machine, after the agent has ended\n"
        "\n"
        "  -c, --config FILE   configuration (" DEFAULT_CONFIG ")\n"
        "  -n, --check         check configuration, catalogue and policy, then exit\n"
        "  -f, --foreground    accepted for habit: the agent never goes to the background\n"
        "      --release       on SIGTERM and SIGINT also take enforcement off (default: it stays)\n"
        "      --no-lsm        end programs by signal although BPF LSM would work\n"
        "  -v, --verbose       log more\n"
        "  -V, --version       print the version\n"
        "  -h, --help          print this help\n"
        "\n"
        "Exit status: 0 ended in order or nothing wrong found, 1 failure, 2 usage.\n";

enum { OPTION_RELEASE = 256, OPTION_NO_LSM };

static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'n'},
        {"foreground", no_argument, NULL, 'f'},
        {"release", no_argument, NULL, OPTION_RELEASE},
        {"no-lsm", no_argument, NULL, OPTION_NO_LSM},
        {"verbose", no_argument, NULL, 'v'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
};

struct arguments {
        const char *config;
        bool check, release_now;
        struct daemon_options daemon;
};

/* -ECANCELED: answered already, 0 to go on, -EINVAL usage. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
        int c;

        while ((c = getopt_long(argc, argv, "c:nfvVh", long_options, NULL)) >= 0)
                switch (c) {
                case 'c':
                        a->config = optarg;
                        break;
                case 'n':
                        a->check = true;
                        break;
                case 'f':
                        break;
                case OPTION_RELEASE:
                        a->daemon.release = true;
                        break;
                case OPTION_NO_LSM:
                        a->daemon.no_lsm = true;
                        break;
                case 'v':
                        log_set_max_level(LOG_DEBUG);
                        break;
                case 'V':
                        printf("onchanneld %s\n", onchannel_version);
                        return -ECANCELED;
                case 'h':
                        fputs(usage, stdout);
                        return -ECANCELED;
                default: /* switch: not an enum */
                        return -EINVAL;
                }
        if (optind < argc && !strcmp(argv[optind], "release")) {
                a->release_now = true;
                optind++;
        }
        return optind == argc ? 0 : -EINVAL;
}

static int act(const struct arguments *a, const struct config *c)
{
        return a->check ? daemon_check(c) : a->release_now ? daemon_release(c) : daemon_run(c, &a->daemon);
}

/* With the agent.ini of the last start: one that is broken, or with which nothing starts, must not leave the machine without an agent. */
static int act_as_before(struct arguments *a, const struct config *c, const struct diag *why)
{
        _cleanup_config_ struct config *kept = NULL;
        struct diag d = {0};

        if (a->check || config_load_kept(a->config, &kept, &d) < 0)
                return -ENOENT;
        if (c && c->text_size == kept->text_size && memcmp(c->text, kept->text, c->text_size) == 0)
                return -ENOENT;
        a->daemon.refused = why;
        return act(a, kept);
}

int main(int argc, char **argv)
{
        struct arguments a = {.config = DEFAULT_CONFIG};
        _cleanup_config_ struct config *config = NULL;
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        log_set_name("onchanneld");
        r = parse_arguments(argc, argv, &a);
        if (r == -ECANCELED)
                return 0;
        if (r < 0) {
                fputs("Try 'onchanneld --help'.\n", stderr);
                return 2;
        }
        if (sodium_init() < 0) {
                log_line(LOG_ERR, "libsodium does not start");
                return 1;
        }
        r = config_load(a.config, &config, &d);
        if (r < 0) {
                log_line(LOG_ERR, "%s", diag_format(&d, where, sizeof(where)));
        } else {
                r = act(&a, config);
                if (r < 0)
                        diag_set(&d, r, a.config, 0, "the agent does not start with it: %s", strerror(-r));
        }
        if (r < 0)
                r = act_as_before(&a, config, &d);
        return r < 0 ? 1 : 0;
}
