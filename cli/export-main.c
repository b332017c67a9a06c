/* SPDX-License-Identifier: GPL-3.0-or-later */
/* onchannel-export(1): logs in at a collector's page as a browser does, takes an evidence bundle and verifies it. */
#include <curl/curl.h>
#include <errno.h>
#include <pwd.h>
#include <sodium.h>
#include <string.h>

#include "base/text.h"
#include "cli/bundle.h"
#include "cli/fetch.h"
#include "cli/outfile.h"

#define EXPORT_PATH  "/api/v1/export"
#define ANSWER_S     30L
#define ANSWER_MAX   4096u
#define PASSWORD_MAX 256 /* bytes, as the collector takes it */

static const char usage[] =
        "Usage: onchannel-export URL -o FILE [--from TIME] [--to TIME] [--device DEVICE] [--user NAME]\n"
        "                   [--channel ID] [--class CLASS] [--tier TIER] [--layer LAYER] [--outcome OUTCOME]\n"
        "                   [--program PROGRAM] [--login NAME] [--password-file FILE] [--ca FILE]\n"
        "                   [--log-key KEY|FILE] [--witness KEY|FILE] [--heartbeat SECONDS] [--json]\n"
        "Takes an evidence bundle from a collector and verifies it. URL is that of the page, https://HOST:PORT.\n"
        "  -o, --output FILE      where it goes; compressed when FILE ends in .zst\n"
        "  --from TIME, --to TIME from when on and until before when: 2026-11-21 or 2026-11-21T08:00:00Z\n"
        "  --device … --program   only what fits, as on the page; coverage is always in\n"
        "  --login NAME           who you are at the page (default: as you are here)\n"
        "  --password-file FILE   has your password in its first line; else you are asked for it\n"
        "  --ca FILE              the collector's CA certificate\n"
        "  --log-key, --witness, --heartbeat\n"
        "                         what to verify it by, as 'onchannel evidence verify' has them\n"
        "Exit status: 0 everything holds, 1 something is broken or there is no bundle, 2 usage.\n";

/* What goes to the collector as it is. */
static const char *const filters[] = {"device", "user", "channel", "class", "tier", "layer", "outcome", "program"};

struct arguments {
        const char *values[ELEMENTSOF(filters)];
        const char *output, *from, *to, *login, *password_file, *ca;
        struct bundle_arguments verify;
};

static inline void secretp(char **s)
{
        if (*s) {
                sodium_memzero(*s, strlen(*s));
                free(*s);
        }
}

static void parameter_add(struct buf *path, const char *name, const char *value)
{
        char *escaped = curl_easy_escape(NULL, value, 0);

        buf_addf(path, "%c%s=%s", memchr(path->data, '?', path->size) ? '&' : '?', name, escaped ? escaped : "");
        if (!escaped)
                path->error = -ENOMEM;
        curl_free(escaped);
}

static int time_add(const struct cli *c, struct buf *path, const char *name, const char *text)
{
        char number[24];
        time_t t;

        if (!text)
                return STATUS_OK;
        if (time_or_date_parse(text, &t) < 0 || t < 0)
                return cli_fail(c, STATUS_USAGE,
                                "--%s: '%s' is neither a date (2026-11-21) nor a time (2026-11-21T08:00:00Z)", name,
                                text);
        snprintf(number, sizeof(number), "%lld", (long long)t * 1000);
        parameter_add(path, name, number);
        return STATUS_OK;
}

static int path_make(const struct cli *c, const struct arguments *a, struct buf *path)
{
        int r;

        buf_add_string(path, EXPORT_PATH);
        r = time_add(c, path, "from", a->from);
        if (r == STATUS_OK)
                r = time_add(c, path, "to", a->to);
        for (size_t i = 0; r == STATUS_OK && i < ELEMENTSOF(filters); i++)
                if (a->values[i])
                        parameter_add(path, filters[i], a->values[i]);
        if (r == STATUS_OK && buf_error(path) < 0)
                r = cli_fail(c, STATUS_FAILED, "no memory");
        return r;
}

/* ---- who asks ---- */

/* The first line; also of a pipe (/dev/fd/3). */
static int password_read(const struct cli *c, const char *path, char **ret)
{
        _cleanup_file_ FILE *f = path ? fopen(path, "re") : NULL;
        _cleanup_(secretp) char *text = calloc(1, PASSWORD_MAX + 2);

        if (!path)
                return read_password("Password: ", ret) < 0 ? cli_fail(c, STATUS_FAILED, "a password is needed")
                                                            : STATUS_OK;
        if (!f)
                return cli_fail(c, STATUS_FAILED, "cannot read '%s': %s", path, strerror(errno));
        setvbuf(f, NULL, _IONBF, 0); /* else stdio keeps a copy */
        if (!text || !fgets(text, PASSWORD_MAX + 2, f))
                return cli_fail(c, STATUS_FAILED, "'%s' holds no password", path);
        text[strcspn(text, "\n")] = 0;
        *ret = TAKE_PTR(text);
        return STATUS_OK;
}

static int login(const struct cli *c, struct fetch *f, const struct arguments *a)
{
        const struct passwd *me = a->login ? NULL : getpwuid(getuid());
        const char *name = a->login ? a->login : me ? me->pw_name : "";
        _cleanup_(secretp) char *password = NULL;
        _cleanup_(secretp) char *text = NULL;
        _cleanup_buf_ struct buf answer = {0};
        struct buf body;
        json_auto_t *o = NULL;
        int r = password_read(c, a->password_file, &password);

        if (r != STATUS_OK)
                return r;
        o = json_pack("{s:s,s:s}", "user", name, "password", password);
        text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        if (o)
                sodium_memzero((void *)json_string_value(json_object_get(o, "password")), strlen(password));
        if (!text)
                return cli_fail(c, STATUS_FAILED, "name and password must be UTF-8");
        body = (struct buf){.data = (uint8_t *)text, .size = strlen(text)};
        r = fetch_call(f,
                       &(struct fetch_request){.path = "/api/v1/login",
                                               .post = &body,
                                               .json = true,
                                               .timeout_s = ANSWER_S,
                                               .max = ANSWER_MAX},
                       &answer);
        return r < 0 ? cli_fail(c, STATUS_FAILED, "cannot log in as '%s': %s", name, f->error) : STATUS_OK;
}

static void logout(struct fetch *f)
{
        const struct buf none = {.data = (uint8_t *)"{}", .size = 2};

        (void)fetch_call(f,
                         &(struct fetch_request){.path = "/api/v1/logout",
                                                 .post = &none,
                                                 .json = true,
                                                 .timeout_s = ANSWER_S,
                                                 .max = ANSWER_MAX},
                         NULL);
}

/* ---- the bundle ---- */

static int take(void *userdata, const void *data, size_t size)
{
        return outfile_write(userdata, data, size);
}

static int download(const struct cli *c, struct fetch *f, const char *path, struct outfile *out)
{
        int r = fetch_call(f, &(struct fetch_request){.path = path, .take = take, .userdata = out}, NULL);

        if (r < 0 && *f->error)
                return cli_fail(c, STATUS_FAILED, "%s", f->error);
        if (r == 0)
                r = outfile_finish(out);
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot write '%s': %s", out->path, strerror(-r));
        if (!c->json)
                print_field(c, "file", COLOUR_NONE, "%s, %llu bytes", out->path, (unsigned long long)out->size);
        return STATUS_OK;
}

static int export(const struct cli *c, struct fetch *f, const struct arguments *a, const struct buf *path)
{
        struct outfile out;
        int r = outfile_open(&out, a->output); /* before anything is asked for: a password, the collector's work */

        if (r < 0) {
                r = cli_fail(c, STATUS_FAILED, "cannot write '%s': %s", a->output, strerror(-r));
        } else {
                r = login(c, f, a);
                if (r == STATUS_OK) {
                        r = download(c, f, (const char *)path->data, &out);
                        logout(f);
                }
        }
        outfile_done(&out);
        return r;
}

static int run(struct cli *c, int argc, char **argv)
{
        struct arguments a = {0};
        const struct cli_option options[] = {{"output", 'o', &a.output, NULL},
                                             {"from", 0, &a.from, NULL},
                                             {"to", 0, &a.to, NULL},
                                             {"login", 0, &a.login, NULL},
                                             {"ca", 0, &a.ca, NULL},
                                             {"password-file", 0, &a.password_file, NULL},
                                             {filters[0], 0, &a.values[0], NULL},
                                             {filters[1], 0, &a.values[1], NULL},
                                             {filters[2], 0, &a.values[2], NULL},
                                             {filters[3], 0, &a.values[3], NULL},
                                             {filters[4], 0, &a.values[4], NULL},
                                             {filters[5], 0, &a.values[5], NULL},
                                             {filters[6], 0, &a.values[6], NULL},
                                             {filters[7], 0, &a.values[7], NULL},
                                             BUNDLE_OPTIONS(a.verify),
                                             {0}};
        _cleanup_(fetch_done) struct fetch f = {0};
        _cleanup_buf_ struct buf path = {0};
        struct verify_options o;
        int r = cli_options(c, options, &argc, &argv);

        if (r < 0 || argc != 1 || !a.output || strcmp(a.output, "-") == 0)
                return cli_usage(c, r);
        r = bundle_options(c, &a.verify, &o); /* no fault of these is found after the download */
        if (r == STATUS_OK)
                r = path_make(c, &a, &path);
        if (r != STATUS_OK)
                return r;
        if (fetch_init(&f, argv[0], a.ca) < 0 || strchr(f.base + strlen("https://"), '/'))
                return cli_fail(c, STATUS_USAGE, "'%s' is not the address of a collector's page, https://HOST:PORT",
                                argv[0]);
        r = export(c, &f, &a, &path);
        return r == STATUS_OK ? bundle_verify(c, a.output, &o) : r;
}

int main(int argc, char **argv)
{
        struct cli c = {.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), .usage = usage};

        if (sodium_init() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
                return STATUS_FAILED;
        return run(&c, argc, argv);
}
