/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What the files of this folder share. */
#include "catalogue/catalogue.h"

#define CATALOGUE_FORMAT    1
#define CHANNEL_FILE_SUFFIX ".ini"

void channel_done(struct channel *c);
#define _cleanup_channel_ _cleanup_(channel_done)

/* [a-z0-9][a-z0-9-]*, at most CHANNEL_ID_MAX. */
bool channel_id_is_valid(const char *id);

/* Check and normalise one value; ret->value is new. On -EBADMSG *reterr_why says what is
 * wrong with it, a static text that follows "'VALUE' ". */
int entry_parse(enum entry_kind kind, const char *value, struct entry *ret, const char **reterr_why);

/* One channel file. */
int channel_parse(const struct catalogue_source *source, struct channel *ret, struct diag *reterr);

/* By id, for qsort(). */
int channel_compare(const void *a, const void *b);

/* -ENOTUNIQ when two entries of a catalogue say the same. */
int catalogue_check_unique(const struct catalogue *c, struct diag *reterr);
