/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What a host's arguments make it run, by what its manual says of them. Pure: bytes of strangers. */
#include "agent/classify/host.h"

enum host_role {
        HOST_RUNS, /* a file */
        HOST_MODULE, /* python3 -m NAME: found by a search of its own */
        HOST_MAYBE, /* a file; where there is no such, the value of the option before it, which is not known */
        HOST_ALSO, /* a file that runs before it, or of which parts run: bash --rcfile, node --require, java -cp */
};

struct host_target {
        const char *name; /* points into argv, or to a constant */
        size_t size; /* all the text but with HOST_ALSO, which may be one of a list */
        enum host_role role;
        size_t at; /* argument */
        bool is_windows; /* its path may be one of Windows */
};

/* One after the other: begin, then next until it says false. After HOST_RUNS and HOST_MODULE nothing comes any more: the rest
 * is data, since whoever passes a file's name does not run it. */
struct host_walk {
        enum host host;
        const char *const *argv; /* borrowed, NULL-terminated */
        size_t at; /* the next argument */
        const char *list; /* what is left of a list of files */
        bool is_ended; /* what follows is data, or a program's text */
        bool has_verb, has_text, only_words, may_be_value;
};

void host_begin(struct host_walk *w, enum host h, const char *const *argv);
bool host_next(struct host_walk *w, struct host_target *ret);
/* How many arguments, itself included, may say what it runs: up to HOST_RUNS, HOST_MAYBE or HOST_MODULE, and not the text
 * behind -c. */
size_t host_arguments(enum host h, const char *const *argv);
