/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Tells which channel a program belongs to that no name gives away: by build id, SHA-256 and
 * package of what it is, and by what is learnt from the programs that are installed. After
 * classify_exec() has found nothing.
 *
 * All that is read of processes and their files is read by children (looker.h), also what classify_exec() reads. The
 * executable's headers are read at once (some microseconds). What may take long or never end is read while others are
 * looked at, and the program runs meanwhile: hashing (only when the catalogue has any SHA-256), files that arguments name,
 * and file systems that a user answers for. What such a file system hides from root is read from the process' memory. */
#include <systemd/sd-event.h>
#include "agent/classify/classify.h"
#include "agent/classify/learn.h"

struct identify_options {
        const struct learn_options *learn; /* NULL: this machine */
        /* The answer to a start for which identify_start() said `pending`. */
        void (*handler)(int r, struct fact *f, const struct classification *c, void *userdata);
        /* Other programs are known than before: what the kernel remembers is too old. */
        void (*changed)(void *userdata);
        void *userdata;
};

struct identify;

int identify_new(sd_event *event, const struct identify_options *o, struct identify **ret);
struct identify *identify_free(struct identify *id); /* returns NULL */
static inline void identify_freep(struct identify **id)
{
        identify_free(*id);
}
#define _cleanup_identify_ _cleanup_(identify_freep)

/* Look at what is installed for this rule set, which must live until the next call has ended. */
int identify_set_rules(struct identify *id, const struct ruleset *r);
/* The entry of a file with this content, 0 none; what is not filled in is not asked for. */
uint32_t identify_content(struct identify *id, const struct content *c);
/* Complete f->path and fill *c: what classify_exec() finds, and else the content. -EBUSY too much to look at. */
int identify_start(struct identify *id, struct fact *f, struct classification *c);
/* In the process that calls: f as classify_exec() left it, *c its answer, to be completed. `pending` is for who may not wait. */
int identify_exec(struct identify *id, struct fact *f, struct classification *c, bool may_wait);
