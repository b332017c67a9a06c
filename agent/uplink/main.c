/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include "agent/uplink/uplink.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/version.h"

#define DEFAULT_CONFIG "/etc/onchannel/agent.ini"

static const char usage[] =
        "Usage: onchannel-uplink [--config FILE]\n"
        "       onchannel-uplink enrol --token T [--ca FILE] [--config FILE] [URL]\n"
        "       onchannel-uplink enrol --certificate FILE --key FILE [--ca FILE] [--config FILE] [URL]\n"
        "Ships the spool to the collector and fetches policy and catalogue; runs without privileges.\n"
        "enrol, run once by root, makes this device known to the collector.\n"
        "  --config FILE  the agent's configuration; default: " DEFAULT_CONFIG "\n"
        "  --url URL      the collector, https://HOST[:PORT]; default: [collector] url\n"
        "  --token T      one-time token from 'onchannel-collector token'\n"
        "  --certificate FILE, --key FILE  in place of a token: this device's certificate of the firm's own "
        "authority\n"
        "  --ca FILE      the collector's CA certificate; default: [collector] ca\n"
        "Exit status: 0 done, 1 failed, 2 wrong usage.\n";

struct arguments {
        const char *config, *url;
        struct enrol_options enrolment;
        bool enrol;
};

static bool options_fit(const struct arguments *a)
{
        const struct enrol_options *e = &a->enrolment;

        if (!a->enrol)
                return !a->url && !e->ca && !e->token && !e->certificate && !e->key;
        return e->token ? !e->certificate && !e->key : e->certificate && e->key;
}

/* 0, or an exit status plus one. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
        static const struct option options[] = {
                {"config", required_argument, NULL, 'c'},
                {"url", required_argument, NULL, 'u'},
                {"token", required_argument, NULL, 't'},
                {"ca", required_argument, NULL, 'a'},
                {"certificate", required_argument, NULL, 'C'},
                {"key", required_argument, NULL, 'k'},
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, 'v'},
                {0},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
                switch (c) {
                case 'c':
                        a->config = optarg;
                        break;
                case 'u':
                        a->url = optarg;
                        break;
                case 't':
                        a->enrolment.token = optarg;
                        break;
                case 'a':
                        a->enrolment.ca = optarg;
                        break;
                case 'C':
                        a->enrolment.certificate = optarg;
                        break;
                case 'k':
                        a->enrolment.key = optarg;
                        break;
                case 'h':
                        fputs(usage, stdout);
                        return 1;
                case 'v':
                        printf("onchannel-uplink %s\n", onchannel_version);
                        return 1;
                default: /* switch: not an enum */
                        fputs(usage, stderr);
                        return 3;
                }
        a->enrol = optind < argc && strcmp(argv[optind], "enrol") == 0;
        optind += a->enrol;
        if (a->enrol && optind < argc && !a->url)
                a->url = argv[optind++];
        if (optind < argc || !options_fit(a)) {
                fputs(usage, stderr);
                return 3;
        }
        return 0;
}

static int enrol(struct uplink_config *c, const struct arguments *a)
{
        struct enrol_options o = a->enrolment;

        if (a->url && uplink_url_set(c, a->url) < 0)
                return log_errno(LOG_ERR, -EINVAL, "'%s' is not https://HOST[:PORT]", a->url);
        if (!c->url)
                return log_errno(LOG_ERR, -EINVAL, "no collector: give --url or set [collector] url");
        if (!o.ca)
                o.ca = c->ca;
        if (!o.ca)
                return log_errno(LOG_ERR, -EINVAL, "no CA certificate: give --ca or set [collector] ca");
        return enrol_run(c, &o);
}

static int run(struct uplink_config *c)
{
        _cleanup_(uplink_done) struct uplink u = {.config = *c};
        int r;

        *c = (struct uplink_config){0};
        if (!u.config.url) {
                log_line(LOG_INFO, "[collector] url is not set: records stay on this device");
                return 0;
        }
        r = uplink_init(&u);
        if (r >= 0)
                r = uplink_run(&u);
        return r < 0 ? log_errno(LOG_ERR, r, "cannot go on") : 0;
}

int main(int argc, char **argv)
{
        _cleanup_(uplink_config_done) struct uplink_config config = {0};
        struct arguments a = {.config = DEFAULT_CONFIG};
        struct diag diag;
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 32];
        int r;

        log_set_name("onchannel-uplink");
        r = parse_arguments(argc, argv, &a);
        if (r > 0)
                return r - 1;
        if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
                log_line(LOG_ERR, "cannot initialise libsodium or libcurl");
                return 1;
        }
        if (uplink_config_load(a.config, &config, &diag) < 0) {
                log_line(LOG_ERR, "%s", diag_format(&diag, where, sizeof(where)));
                return 1;
        }
        r = a.enrol ? enrol(&config, &a) : run(&config);
        curl_global_cleanup();
        return r < 0;
}
