/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log, witness, export: the Merkle log from the command line of its host. */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "collector/check.h"
#include "collector/command.h"
#include "collector/log/export.h"

#define WAIT_MAX_S 15 /* until the collector has taken up what is new */

static int key_load(const struct config *config, struct note_key *ret, uint8_t *ret_secret)
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = file_read(config->log_key, NOTE_SECRET_TEXT_MAX, &text, &size);

        if (r == 0) {
                r = note_secret_parse(text, NOTE_ED25519, ret, ret_secret);
                sodium_memzero(text, size);
        }
        if (r == -ENOENT)
                return fail_with("there is no log yet: 'serve' makes it");
        return r < 0 ? fail_with("'%s' cannot be read: %s", config->log_key, strerror(-r)) : EXIT_SUCCESS;
}

int command_log(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        uint8_t secret[NOTE_SECRET_SIZE];
        char vkey[NOTE_VKEY_MAX];
        struct note_key k;
        struct diag d = {0};

        if (argc != 2)
                return fail_usage("log needs one folder");
        if (config_load(argv[1], &config, &d) < 0)
                return fail(&d);
        if (key_load(&config, &k, secret) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        sodium_memzero(secret, sizeof(secret));
        note_key_format(&k, vkey);
        printf("%s\n", vkey);
        return EXIT_SUCCESS;
}

static int witness_print(const struct tlog_witness *w, void *userdata)
{
        char when[TIME_TEXT_MAX];

        if (w->note)
                printf("%s  cosigned %llu entries at %s\n", w->vkey, (unsigned long long)w->size,
                       time_format((time_t)(w->time_ms / 1000), when));
        else
                printf("%s  has not cosigned yet\n", w->vkey);
        return 0;
}

static int witness_list(const struct config *config, struct store *s)
{
        _cleanup_(tlog_head_done) struct tlog_head h = {0};
        uint8_t secret[NOTE_SECRET_SIZE];
        struct note_key k;
        int r;

        if (key_load(config, &k, secret) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        sodium_memzero(secret, sizeof(secret));
        r = tlog_head_get(store_db(s), k.name, 0, &h);
        if (r == 0 || r == -ENOENT)
                r = tlog_witnesses(store_db(s), h.number, witness_print, NULL);
        return r < 0 ? fail_with("the database does not answer: %s", strerror(-r)) : EXIT_SUCCESS;
}

int command_witness(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        bool add = argc == 4 && strcmp(argv[2], "add") == 0, remove = argc == 4 && strcmp(argv[2], "remove") == 0;
        int r;

        if (!add && !remove && (argc != 3 || strcmp(argv[2], "list") != 0))
                return fail_usage("witness needs DIR list, DIR add KEY, or DIR remove NAME");
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        if (!add && !remove)
                return witness_list(&config, s);
        r = add ? tlog_witness_add(s, argv[3], now_ms()) : tlog_witness_remove(s, argv[3]);
        if (r == -EINVAL)
                return fail_with("'%s' is not the verifier key of a witness (onchannel-witness new prints it)",
                                 argv[3]);
        if (r == -ENOENT)
                return fail_with("there is no witness '%s'", argv[3]);
        if (r == 0)
                r = store_audit_add(s, &(struct store_audit){now_ms(), "command line",
                                                             add ? "witness add" : "witness remove", argv[3]});
        if (r == 0)
                r = store_commit(s);
        return r < 0 ? fail_with("the database does not answer: %s", strerror(-r)) : EXIT_SUCCESS;
}

/* ---- export ---- */

static int options_parse(int argc, char **argv, struct store_filter *f)
{
        static const struct option options[] = {
                {"from", required_argument, NULL, 'f'},    {"to", required_argument, NULL, 't'},
                {"device", required_argument, NULL, 'd'},  {"user", required_argument, NULL, 'u'},
                {"channel", required_argument, NULL, 'c'}, {0},
        };
        time_t t;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'd')
                        f->device = optarg;
                else if (c == 'u')
                        f->user = optarg;
                else if (c == 'c')
                        f->channel = optarg;
                else if ((c == 'f' || c == 't') && time_or_date_parse(optarg, &t) == 0)
                        *(c == 'f' ? &f->from_ms : &f->to_ms) = (uint64_t)t * 1000;
                else if (c == 'f' || c == 't')
                        return fail_usage("'%s' is neither a date (2026-11-21) nor a time (2026-11-21T08:00:00Z)",
                                          optarg);
                else
                        return fail_usage("export does not take that");
        }
        return optind + 1 == argc ? EXIT_SUCCESS : fail_usage("export needs one folder");
}

/* Entries above their log's checkpoint, and batches without one. */
static int behind(struct store *s, uint64_t *ret)
{
        uint64_t n = 0;
        int r = store_unlogged(s, ret);

        if (r >= 0)
                r = tlog_unsigned(store_db(s), &n);
        *ret += n;
        return r;
}

/* The serving collector takes up each second what is new, and signs it a few seconds later. */
static void wait_for_log(struct store *s)
{
        uint64_t n = 1;

        for (int i = 0; i < WAIT_MAX_S && (behind(s, &n) < 0 || n > 0); i++)
                sleep(1);
        if (n > 0)
                fprintf(stderr, "not everything is in the log yet: is the collector running?\n");
}

static int write_all(struct export *e)
{
        _cleanup_buf_ struct buf out = {0};
        int r;

        do {
                r = export_more(e, &out);
                if (r >= 0 && out.size > 0 && fwrite(out.data, 1, out.size, stdout) != out.size)
                        r = -errno;
                out.size = 0;
        } while (r > 0);
        if (r == 0 && fflush(stdout) != 0)
                r = -errno;
        return r;
}

int command_export(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        _cleanup_(export_freep) struct export *e = NULL;
        struct store_filter f = {.to_ms = UINT64_MAX};
        uint8_t secret[NOTE_SECRET_SIZE];
        struct note_key k;
        struct diag d = {0};
        int r = options_parse(argc, argv, &f);

        if (r != EXIT_SUCCESS)
                return r;
        if (isatty(STDOUT_FILENO))
                return fail_with("a bundle is long: write it to a file");
        if (collector_open(argv[optind], &config, &s) != EXIT_SUCCESS ||
            key_load(&config, &k, secret) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        r = store_audit_add(s, &(struct store_audit){now_ms(), "command line", "export", f.device});
        if (r == 0)
                r = store_commit(s);
        if (r == 0) {
                wait_for_log(s);
                r = export_open(&(struct export_options){config.store, &k, secret, &f, now_ms(), NULL}, &e, &d);
        }
        if (r == 0)
                r = write_all(e);
        sodium_memzero(secret, sizeof(secret));
        if (r < 0)
                return *d.text ? fail(&d) : fail_with("the export was broken off: %s", strerror(-r));
        return EXIT_SUCCESS;
}

/* ---- check ---- */

static void found(const char *text, void *userdata)
{
        printf("broken: %s\n", text);
}

int command_check(int argc, char **argv)
{
        _cleanup_(config_done) struct config config = {0};
        _cleanup_(store_freep) struct store *s = NULL;
        struct check c = {.found = found};
        int r;

        if (argc != 2)
                return fail_usage("check needs one folder");
        if (collector_open(argv[1], &config, &s) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        c.db = store_db(s);
        r = check_database(&c);
        if (r < 0)
                return fail_with("the database cannot be read: %s", db_error(c.db));
        printf("%llu records in %llu batches (%llu erased, %llu no longer kept), %llu actions, %llu entries of the "
               "log: %s\n",
               (unsigned long long)c.records, (unsigned long long)c.batches, (unsigned long long)c.erased,
               (unsigned long long)c.gone, (unsigned long long)c.audits, (unsigned long long)c.entries,
               c.problems ? "does not hold" : "holds");
        return c.problems ? EXIT_FAILURE : EXIT_SUCCESS;
}
