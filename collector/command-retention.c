/* SPDX-License-Identifier: GPL-3.0-or-later */
/* retention, hold, erase: how long records stay. Each change is an audit entry. */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "collector/command.h"

#define PURGE_ROWS 20000 /* of SQLite a transaction */
#define REASON_MAX 200

static int store_failed(struct store *s, int r)
{
        return fail_with("the database does not take it: %s (%s)", strerror(-r), db_error(store_db(s)));
}

/* ---- retention ---- */

static int purge_all(struct store *s)
{
        struct store_purge p;
        uint64_t gone = 0, held = 0;
        int r;

        do {
                r = store_purge(s, now_ms(), PURGE_ROWS, &p);
                if (r < 0)
                        return store_failed(s, r);
                gone += p.n_gone;
                held += p.n_held;
        } while (p.more || p.n_gone > 0);
        printf("%llu records removed", (unsigned long long)gone);
        printf(held ? ", %llu stay under a hold.\n" : ".\n", (unsigned long long)held);
        return EXIT_SUCCESS;
}

static int retention_show(struct store *s)
{
        unsigned months = 0;
        int r = store_retention_get(s, &months);

        if (r < 0)
                return store_failed(s, r);
        if (months)
                printf("Records are kept for %u months after the month in which they came.\n", months);
        else
                printf("Records are kept for ever.\n");
        return EXIT_SUCCESS;
}

int command_retention(int argc, char **argv)
{
        static const struct option options[] = {{"months", required_argument, NULL, 'm'}, {0}};
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        uint64_t months = UINT64_MAX;
        char detail[32];
        bool run;
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
                if (c != 'm' || parse_u64(optarg, STORE_MONTHS_MAX, &months) < 0)
                        return fail_usage("--months must be 0 (for ever) to %d", STORE_MONTHS_MAX);
        run = optind + 2 == argc && strcmp(argv[optind + 1], "run") == 0;
        if (optind + 1 != argc && !run)
                return fail_usage("retention needs DIR, or DIR run");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (months != UINT64_MAX) {
                r = store_retention_set(s, (unsigned)months);
                if (r < 0)
                        return store_failed(s, r);
                snprintf(detail, sizeof(detail), "months %llu", (unsigned long long)months);
                if (audit(s, "retention", detail) != EXIT_SUCCESS)
                        return EXIT_FAILURE;
        }
        return run ? purge_all(s) : retention_show(s);
}

/* ---- what a hold or an erasure is about ---- */

struct selection {
        struct store_selection what;
        const char *reason;
};

static int selection_parse(int argc, char **argv, struct selection *ret)
{
        static const struct option options[] = {
                {"user", required_argument, NULL, 'u'},
                {"device", required_argument, NULL, 'd'},
                {"channel", required_argument, NULL, 'c'},
                {"from", required_argument, NULL, 'f'},
                {"to", required_argument, NULL, 't'},
                {"reason", required_argument, NULL, 'r'},
                {0},
        };
        struct store_selection *w = &ret->what;
        time_t t;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'u')
                        w->user = optarg;
                else if (c == 'd')
                        w->device = optarg;
                else if (c == 'c')
                        w->channel = optarg;
                else if (c == 'r')
                        ret->reason = optarg;
                else if (c == '?')
                        return fail_usage("%s does not take that", argv[0]);
                else if (time_or_date_parse(optarg, &t) < 0)
                        return fail_usage("'%s' is not a time: 2026-11-21 or 2026-11-21T00:00:00Z", optarg);
                else
                        *(c == 'f' ? &w->from_ms : &w->to_ms) = (uint64_t)t * 1000;
        }
        return EXIT_SUCCESS;
}

static int selection_check(const struct selection *q, const char *command)
{
        const struct store_selection *w = &q->what;

        if (!w->user && !w->device && !w->channel)
                return fail_usage("%s needs --user, --device or --channel", command);
        if (!q->reason || !*q->reason || strlen(q->reason) > REASON_MAX)
                return fail_usage("%s needs --reason, a few words for the audit", command);
        return EXIT_SUCCESS;
}

/* ---- hold ---- */

static int hold_print(const struct store_hold *h, void *userdata)
{
        char since[TIME_TEXT_MAX], released[TIME_TEXT_MAX];

        printf("%-4lld %s  user %s  device %s  channel %s  since %s  by %s  %s\n", (long long)h->number,
               h->released_ms ? "released" : "in force", h->what.user ?: "any", h->what.device ?: "any",
               h->what.channel ?: "any", time_format((time_t)(h->time_ms / 1000), since), h->who, h->reason);
        if (h->released_ms)
                printf("     released %s\n", time_format((time_t)(h->released_ms / 1000), released));
        return 0;
}

static int hold_add(struct store *s, const struct selection *q)
{
        struct store_hold h = {.reason = q->reason, .who = "command line", .what = q->what, .time_ms = now_ms()};
        char detail[REASON_MAX + 64];
        int64_t number = 0;
        int r = selection_check(q, "hold add");

        if (r != EXIT_SUCCESS)
                return r;
        r = store_hold_add(s, &h, &number);
        if (r < 0)
                return store_failed(s, r);
        printf("Hold %lld: what it is about is neither removed nor erased until it is released.\n",
               (long long)number);
        snprintf(detail, sizeof(detail), "%lld: %s", (long long)number, q->reason);
        return audit(s, "hold", detail);
}

static int hold_release(struct store *s, const char *text)
{
        uint64_t number = 0;
        int r;

        if (parse_u64(text, INT64_MAX, &number) < 0)
                return fail_usage("hold release needs the hold's number");
        r = store_hold_release(s, (int64_t)number, now_ms());
        if (r == -ENOENT)
                return fail_with("there is no hold %s in force", text);
        if (r < 0)
                return store_failed(s, r);
        printf("Hold %s is released.\n", text);
        return audit(s, "hold-release", text);
}

int command_hold(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct selection q = {0};
        const char *verb;
        int r = selection_parse(argc, argv, &q), n = argc - optind;

        if (r != EXIT_SUCCESS)
                return r;
        verb = n >= 2 ? argv[optind + 1] : "";
        if (!(n == 2 && (strcmp(verb, "list") == 0 || strcmp(verb, "add") == 0)) &&
            !(n == 3 && strcmp(verb, "release") == 0))
                return fail_usage("hold needs DIR list, DIR add or DIR release NUMBER");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (strcmp(verb, "add") == 0)
                return hold_add(s, &q);
        if (strcmp(verb, "release") == 0)
                return hold_release(s, argv[optind + 2]);
        r = store_holds(s, hold_print, NULL);
        return r < 0 ? store_failed(s, r) : EXIT_SUCCESS;
}

/* ---- erase ---- */

int command_erase(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct selection q = {0};
        uint64_t erased = 0, held = 0;
        char detail[REASON_MAX + 64];
        int r = selection_parse(argc, argv, &q);

        if (r == EXIT_SUCCESS)
                r = selection_check(&q, "erase");
        if (r != EXIT_SUCCESS)
                return r;
        if (optind + 1 != argc)
                return fail_usage("erase needs one folder");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        r = store_erase(s, &q.what, now_ms(), &erased, &held);
        if (r == -ENOENT)
                return fail_with("there is no device '%s'", q.what.device);
        if (r < 0)
                return store_failed(s, r);
        printf("%llu records erased: their places and hashes stay, so that the rest can be verified.\n",
               (unsigned long long)erased);
        if (held)
                printf("%llu more are under a hold and stay.\n", (unsigned long long)held);
        /* not whom it was about: that is what was erased */
        snprintf(detail, sizeof(detail), "%llu records, %llu held: %s", (unsigned long long)erased,
                 (unsigned long long)held, q.reason);
        return audit(s, "erase", detail);
}
