/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/text.h"
#include "catalogue/catalogue.h"
#include "catalogue/check.h"
#include "cli/cli.h"
#include "trust/trust.h"

#define CHANNEL_FILE_MAX (1u << 20)

static const char usage[] =
        "Usage: onchannel catalogue check DIR|FILE… [--json]\n"
        "       onchannel catalogue build -o FILE [--version V] [--serial N] [--key SECRET] DIR\n"
        "       onchannel catalogue show FILE [CHANNEL] [--json]\n"
        "check   reads channel files and says what is wrong or careless in them\n"
        "build   makes one file of a folder, signed to FILE.minisig with --key\n"
        "show    lists what a built catalogue holds\n"
        "  -o, --output FILE   where to write\n"
        "  --version V         for people, by default today's date\n"
        "  --serial N          for the agent, which takes higher ones only (default: the time in seconds)\n";

struct sources {
        struct catalogue_source *list;
        size_t n;
};

static void sources_done(struct sources *s)
{
        for (size_t i = 0; i < s->n; i++) {
                free((char *)s->list[i].file);
                free((char *)s->list[i].text);
        }
        free(s->list);
}

static int add_file(const struct cli *c, struct sources *s, const char *path)
{
        const char *slash = strrchr(path, '/');
        struct catalogue_source *list;
        char *text, *name;
        size_t size;
        int status;

        list = reallocarray(s->list, s->n + 1, sizeof(*list));
        name = strdup(slash ? slash + 1 : path);
        if (list)
                s->list = list;
        if (!list || !name) {
                free(name);
                return cli_fail(c, STATUS_FAILED, "out of memory");
        }
        status = read_input(c, path, CHANNEL_FILE_MAX, &text, &size);
        if (status != STATUS_OK) {
                free(name);
                return status;
        }
        list[s->n++] = (struct catalogue_source){.file = name, .text = text, .size = size};
        return STATUS_OK;
}

static int is_channel_file(const struct dirent *e)
{
        return e->d_name[0] != '.' && text_ends_with(e->d_name, ".ini");
}

static int add_folder(const struct cli *c, struct sources *s, const char *dir)
{
        struct dirent **names = NULL;
        int n = scandir(dir, &names, is_channel_file, alphasort), status = STATUS_OK;

        if (n < 0)
                return cli_fail(c, STATUS_FAILED, "cannot read the folder '%s': %s", dir, strerror(errno));
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = format_new("%s/%s", dir, names[i]->d_name);

                if (status == STATUS_OK)
                        status = path ? add_file(c, s, path) : cli_fail(c, STATUS_FAILED, "out of memory");
                free(names[i]);
        }
        free(names);
        if (status == STATUS_OK && n == 0)
                status = cli_fail(c, STATUS_FAILED, "no channel file (*.ini) in '%s'", dir);
        return status;
}

static int add_sources(const struct cli *c, struct sources *s, int n, char **paths)
{
        int status = STATUS_OK;

        for (int i = 0; i < n && status == STATUS_OK; i++) {
                struct stat st;
                bool folder = stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode);

                status = folder ? add_folder(c, s, paths[i]) : add_file(c, s, paths[i]);
        }
        return status;
}

struct findings {
        const struct cli *cli;
        json_t *list; /* with --json */
        unsigned warnings;
};

static void on_finding(const struct catalogue_finding *f, void *userdata)
{
        char text[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct findings *all = userdata;

        all->warnings += !f->is_error;
        if (all->list)
                json_array_append_new(all->list, json_pack("{s:s,s:s,s:I,s:s}", "level",
                                                           f->is_error ? "error" : "warning", "file", f->where.file,
                                                           "line", (json_int_t)f->where.line, "text", f->where.text));
        else
                printf("%s: %s\n", f->is_error ? "error" : "warning", diag_format(&f->where, text, sizeof(text)));
}

static int command_check(struct cli *c, int argc, char **argv)
{
        _cleanup_(sources_done) struct sources s = {0};
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        struct findings f = {.cli = c};
        struct diag d = {0};
        int r;

        r = cli_options(c, NULL, &argc, &argv);
        if (r < 0 || argc == 0)
                return cli_usage(c, r);
        r = add_sources(c, &s, argc, argv);
        if (r != STATUS_OK)
                return r;
        r = catalogue_parse_files(s.list, s.n, &catalogue, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        f.list = c->json ? json_array() : NULL;
        r = catalogue_check(catalogue, time(NULL), on_finding, &f);
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "%s", strerror(-r));
        if (c->json)
                print_json(json_pack("{s:b,s:I,s:I,s:o}", "ok", r == 0, "channels", (json_int_t)catalogue->n_channels,
                                     "errors", (json_int_t)r, "findings", f.list));
        else
                printf("%zu channels, %d errors, %u warnings\n", catalogue->n_channels, r, f.warnings);
        return r == 0 ? STATUS_OK : STATUS_FAILED;
}

struct build {
        const char *output, *version, *serial, *key;
};

static int sign_catalogue(const struct cli *c, const struct build *b, const char *text, size_t size)
{
        _cleanup_(trust_secret_done) struct trust_secret secret = {0};
        _cleanup_free_ char *comment = NULL, *minisig = NULL, *path = NULL;
        int r;

        r = read_secret(c, b->key, &secret);
        if (r != STATUS_OK)
                return r;
        comment = format_new("onchannel catalogue version=%s serial=%s", b->version, b->serial);
        path = format_new("%s.minisig", b->output);
        r = comment && path ? trust_sign(&secret, text, size, comment, &minisig) : -ENOMEM;
        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "cannot sign: %s", strerror(-r));
        return write_output(c, path, minisig, strlen(minisig), 0644);
}

static int build_to(const struct cli *c, const struct build *b, const struct sources *s)
{
        _cleanup_free_ char *text = NULL;
        struct diag d = {0};
        uint64_t serial;
        size_t size;
        int r;

        if (parse_u64(b->serial, INT64_MAX, &serial) < 0)
                return cli_fail(c, STATUS_USAGE, "'%s' is no serial number", b->serial);
        r = catalogue_build(s->list, s->n, b->version, serial, &text, &size, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        /* the signature first: whoever sees the new file finds one that fits */
        r = b->key ? sign_catalogue(c, b, text, size) : STATUS_OK;
        if (r == STATUS_OK)
                r = write_output(c, b->output, text, size, 0644);
        if (r != STATUS_OK)
                return r;
        if (c->json)
                return print_json(json_pack("{s:b,s:s,s:s,s:I,s:b}", "ok", 1, "file", b->output, "version",
                                            b->version, "serial", (json_int_t)serial, "signed", b->key != NULL));
        printf("%s: version %s, serial %s, %zu channels%s\n", b->output, b->version, b->serial, s->n,
               b->key ? ", signed" : "");
        return STATUS_OK;
}

static int command_build(struct cli *c, int argc, char **argv)
{
        _cleanup_(sources_done) struct sources s = {0};
        struct build b = {0};
        const struct cli_option options[] = {{"output", 'o', &b.output, NULL},
                                             {"version", 0, &b.version, NULL},
                                             {"serial", 0, &b.serial, NULL},
                                             {"key", 0, &b.key, NULL},
                                             {0}};
        char today[16], now[24];
        time_t t = time(NULL);
        struct tm tm;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !b.output)
                return cli_usage(c, r);
        strftime(today, sizeof(today), "%Y.%m.%d", gmtime_r(&t, &tm));
        snprintf(now, sizeof(now), "%" PRId64, (int64_t)t);
        b.version = b.version ? b.version : today;
        b.serial = b.serial ? b.serial : now;
        r = add_sources(c, &s, argc, argv);
        return r == STATUS_OK ? build_to(c, &b, &s) : r;
}

static json_t *channel_json(const struct channel *ch)
{
        json_t *entries = json_array();

        for (size_t i = 0; i < ch->n_entries; i++)
                json_array_append_new(
                        entries, json_pack("{s:s,s:s,s:I}", "kind", entry_kind_to_string(ch->entries[i].kind),
                                           "value", ch->entries[i].value, "line", (json_int_t)ch->entries[i].line));
        return json_pack("{s:s,s:s,s:s,s:s,s:o}", "channel", ch->id, "name", ch->name, "category",
                         category_to_string(ch->category), "file", ch->file, "entries", entries);
}

static void print_channel(const struct cli *c, const struct channel *ch)
{
        print_field(c, "channel", COLOUR_NONE, "%s (%s, %s)", ch->name, ch->id, category_to_string(ch->category));
        for (size_t i = 0; i < ch->n_entries; i++)
                printf("  %s:%-4u %-9s %s\n", ch->file, ch->entries[i].line,
                       entry_kind_to_string(ch->entries[i].kind), ch->entries[i].value);
}

static int print_catalogue(const struct cli *c, const struct catalogue *all)
{
        json_t *list = c->json ? json_array() : NULL;

        for (size_t i = 0; i < all->n_channels; i++) {
                const struct channel *ch = &all->channels[i];

                if (list)
                        json_array_append_new(list, channel_json(ch));
                else
                        printf("%-20s %-18s %4zu entries  %s\n", ch->id, category_to_string(ch->category),
                               ch->n_entries, ch->name);
        }
        if (list)
                return print_json(json_pack("{s:s?,s:I,s:o}", "version", all->version, "serial",
                                            (json_int_t)all->serial, "channels", list));
        return STATUS_OK;
}

static int command_show(struct cli *c, int argc, char **argv)
{
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        _cleanup_free_ char *text = NULL;
        const struct channel *ch;
        struct diag d = {0};
        size_t size;
        int r;

        r = cli_options(c, NULL, &argc, &argv);
        if (r < 0 || argc < 1 || argc > 2)
                return cli_usage(c, r);
        r = read_input(c, argv[0], CATALOGUE_MAX_BYTES, &text, &size);
        if (r != STATUS_OK)
                return r;
        r = catalogue_parse_built(text, size, argv[0], &catalogue, &d);
        if (r < 0)
                return cli_fail_diag(c, &d, r);
        if (argc == 1)
                return print_catalogue(c, catalogue);
        ch = catalogue_find(catalogue, argv[1]);
        if (!ch)
                return cli_fail(c, STATUS_FAILED, "no channel '%s' in '%s'", argv[1], argv[0]);
        if (c->json)
                return print_json(channel_json(ch));
        print_channel(c, ch);
        return STATUS_OK;
}

int command_catalogue(struct cli *c, int argc, char **argv)
{
        static const struct cli_verb verbs[] = {
                {"check", command_check},
                {"build", command_build},
                {"show", command_show},
                {0},
        };

        c->usage = usage;
        return cli_dispatch(c, verbs, argc, argv);
}
