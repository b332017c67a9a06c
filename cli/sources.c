/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Channel files and built catalogues from disk. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/text.h"
#include "catalogue/check.h"
#include "cli/authoring.h"
#include "cli/catalogue.h"

void sources_done(struct sources *s)
{
        for (size_t i = 0; i < s->n; i++) {
                free((char *)s->list[i].file);
                free((char *)s->list[i].text);
        }
        free(s->list);
        *s = (struct sources){0};
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

static bool is_folder(const char *path)
{
        struct stat st;

        return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int read_sources(const struct cli *c, int n, char **paths, struct sources *ret)
{
        int status = STATUS_OK;

        for (int i = 0; i < n && status == STATUS_OK; i++)
                status = is_folder(paths[i]) ? add_folder(c, ret, paths[i]) : add_file(c, ret, paths[i]);
        return status;
}

static int parse_built(const char *text, size_t size, const char *file, void *ret, struct diag *reterr)
{
        return catalogue_parse_built(text, size, file, ret, reterr);
}

int catalogue_read(const struct cli *c, const char *path, struct catalogue **ret)
{
        _cleanup_sources_ struct sources s = {0};
        struct diag d = {0};
        int r;

        if (!is_folder(path))
                return read_parsed(c, &(struct input){path, CATALOGUE_MAX_BYTES, parse_built}, ret);
        r = add_folder(c, &s, path);
        if (r != STATUS_OK)
                return r;
        r = catalogue_parse_files(s.list, s.n, ret, &d);
        return r < 0 ? cli_fail_diag(c, &d, r) : STATUS_OK;
}

struct findings {
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

int check_catalogue(const struct cli *c, const struct catalogue *catalogue, json_t *list, int *ret_errors,
                    unsigned *ret_warnings)
{
        struct findings f = {.list = list};
        int r = catalogue_check(catalogue, time(NULL), on_finding, &f);

        if (r < 0)
                return cli_fail(c, STATUS_FAILED, "%s", strerror(-r));
        *ret_errors = r;
        *ret_warnings = f.warnings;
        return STATUS_OK;
}
