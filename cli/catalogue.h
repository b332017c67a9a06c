/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the verbs of `onchannel catalogue` and `onchannel policy` share: channel files and built
 * catalogues read from disk. */
#include "catalogue/catalogue.h"
#include "cli/cli.h"

#define CLI_CATALOGUE    "/usr/share/onchannel/catalogue.ini"
#define CHANNEL_FILE_MAX (1u << 20)

struct sources {
        struct catalogue_source *list; /* owns files and texts */
        size_t n;
};
void sources_done(struct sources *s);
#define _cleanup_sources_ _cleanup_(sources_done)

/* Channel files, or all *.ini of folders: STATUS_*. */
int read_sources(const struct cli *c, int n, char **paths, struct sources *ret);
/* Prints a finding for each thing to object to; *ret_errors counts those that are errors. */
int check_catalogue(const struct cli *c, const struct catalogue *catalogue, json_t *list, int *ret_errors,
                    unsigned *ret_warnings);

json_t *entry_json(const struct entry *e);

int catalogue_command_show(struct cli *c, int argc, char **argv);
int catalogue_command_search(struct cli *c, int argc, char **argv);
int catalogue_command_diff(struct cli *c, int argc, char **argv);
