/* SPDX-License-Identifier: GPL-3.0-or-later */
/* onchannel-witness(1). */
#include <curl/curl.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/witness.h"

#define INTERVAL_S     60
#define INTERVAL_MAX_S 86400

static const char usage[] =
        "Usage: onchannel-witness new NAME FILE\n"
        "       onchannel-witness URL --log-key KEY|FILE --key FILE --state FILE [--ca FILE] [--interval SECONDS] "
        "[--once]\n"
        "Watches the log of an onchannel collector from another administrator's host: cosigns its checkpoints as "
        "long as\n"
        "each grew from the one before, and says loudly when one did not. URL is that of the log, "
        "https://HOST:PORT/log.\n"
        "  new NAME FILE        makes this witness's secret key and prints its verifier key, which the collector is "
        "told\n"
        "                       by 'onchannel-collector witness DIR add KEY' and auditors give to onchannel-verify\n"
        "  --log-key KEY|FILE   the log's verifier key, as the collector's administrator gave it to you\n"
        "  --key FILE           this witness's secret key\n"
        "  --state FILE         what it cosigned last; not to be lost\n"
        "  --ca FILE            the collector's CA certificate\n"
        "  --interval SECONDS   how often it looks (default 60)\n"
        "  --once               look once\n"
        "Exit status: 0 done, 1 the log could not be looked at, 2 usage, 4 the log was forked.\n";

enum { STATUS_FORKED = 4 };

static int make_key(const struct cli *c, const char *name, const char *path)
{
        char text[NOTE_SECRET_TEXT_MAX], vkey[NOTE_VKEY_MAX];
        uint8_t secret[NOTE_SECRET_SIZE];
        struct note_key k;
        int r;

        if (access(path, F_OK) == 0)
                return cli_fail(c, STATUS_FAILED, "'%s' exists", path);
        note_secret_new(name, text);
        r = strlen(name) < NOTE_NAME_MAX ? note_secret_parse(text, NOTE_COSIGNATURE, &k, secret) : -EINVAL;
        sodium_memzero(secret, sizeof(secret));
        if (r == 0)
                r = file_write_atomic(path, text, strlen(text), 0600);
        sodium_memzero(text, sizeof(text));
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot make the key '%s': %s", path,
                                r == -EINVAL ? "the name is too long or holds spaces or '+'" : strerror(-r));
        note_key_format(&k, vkey);
        print_line("%s", vkey);
        return STATUS_OK;
}

static int log_key_read(const struct cli *c, const char *source, struct note_key *ret)
{
        _cleanup_free_ char *text = NULL;
        size_t size;

        if (file_read(source, 4096, &text, &size) == 0)
                text[strcspn(text, "\r\n")] = 0;
        if (note_key_parse(text ? text : source, ret) < 0 || ret->kind != NOTE_ED25519)
                return cli_fail(c, STATUS_USAGE, "--log-key: '%s' is not the verifier key of a log", source);
        return STATUS_OK;
}

static int secret_read(const struct cli *c, const char *path, struct witness *w)
{
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = file_read(path, NOTE_SECRET_TEXT_MAX, &text, &size);

        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "'%s': %s", path, strerror(-r));
        r = note_secret_parse(text, NOTE_COSIGNATURE, &w->key, w->secret);
        sodium_memzero(text, size);
        return r < 0 ? cli_fail(c, STATUS_FAILED, "'%s' is not a witness's secret key", path) : STATUS_OK;
}

static int watch(const struct cli *c, struct witness *w, uint64_t interval_s, bool once)
{
        uint64_t told = 0;

        for (;;) {
                int r = witness_round(w, (uint64_t)time(NULL));

                if (r < 0)
                        (void)cli_fail(c, STATUS_FAILED, "%s", w->error);
                else if (once || w->last.head.size != told)
                        print_line("%s: %llu entries, cosigned", w->log.name, (unsigned long long)w->last.head.size);
                told = r == 0 ? w->last.head.size : told;
                (void)fflush(stdout);
                if (r == -EILSEQ)
                        return STATUS_FORKED;
                if (once)
                        return r == 0 ? STATUS_OK : STATUS_FAILED;
                sleep((unsigned)interval_s);
        }
}

static int run(struct cli *c, int argc, char **argv)
{
        const char *log_key = NULL, *key = NULL, *ca = NULL, *interval = NULL;
        struct witness w = {.submit = true};
        bool once = false;
        const struct cli_option options[] = {{"log-key", 0, &log_key, NULL},
                                             {"key", 0, &key, NULL},
                                             {"state", 0, &w.state, NULL},
                                             {"ca", 0, &ca, NULL},
                                             {"interval", 0, &interval, NULL},
                                             {"once", 0, NULL, &once},
                                             {0}};
        uint64_t interval_s = INTERVAL_S;
        int r = cli_options(c, options, &argc, &argv);

        if (r == 0 && argc == 3 && strcmp(argv[0], "new") == 0)
                return make_key(c, argv[1], argv[2]);
        if (r < 0 || argc != 1 || !log_key || !key || !w.state)
                return cli_usage(c, r);
        if (interval && (parse_u64(interval, INTERVAL_MAX_S, &interval_s) < 0 || interval_s == 0))
                return cli_fail(c, STATUS_USAGE, "--interval: 1 to %d seconds", INTERVAL_MAX_S);
        r = fetch_init(&w.fetch, argv[0], ca);
        if (r < 0)
                return cli_usage(c, r);
        r = log_key_read(c, log_key, &w.log);
        if (r == STATUS_OK)
                r = secret_read(c, key, &w);
        if (r == STATUS_OK)
                r = watch(c, &w, interval_s, once);
        sodium_memzero(w.secret, sizeof(w.secret));
        fetch_done(&w.fetch);
        return r;
}

int main(int argc, char **argv)
{
        struct cli c = {.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), .usage = usage};

        if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
                return STATUS_FAILED;
        return run(&c, argc, argv);
}
