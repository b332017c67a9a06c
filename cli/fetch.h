/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* HTTPS to a collector's page and log, for the programs beside `onchannel`: one request at a time over one connection,
 * cookies kept. */
#include <curl/curl.h>
#include "base/buf.h"

#define FETCH_ERROR_MAX 768

struct fetch {
        CURL *easy;
        char *base; /* https://HOST[:PORT][/PATH], without a '/' at the end */
        const char *ca; /* PEM file, or NULL: the system's; borrowed */
        char error[FETCH_ERROR_MAX]; /* one sentence on why the last call failed */
};
/* -EINVAL unless it is https:// with a host and without a password, a query or a fragment. */
int fetch_init(struct fetch *f, const char *url, const char *ca);
void fetch_done(struct fetch *f);

struct fetch_request {
        const char *path; /* behind the base, "/log/checkpoint" */
        const struct buf *post; /* NULL: GET */
        bool json; /* what is posted: JSON from the page's own origin */
        long timeout_s; /* 0: as long as something comes every two minutes */
        size_t max; /* bytes of the answer that are kept */
        int (*take)(void *userdata, const void *data,
                    size_t size); /* or what a good answer is handed to; <0 ends it */
        void *userdata;
};
/* 0 only for status 200 and a whole answer, in *ret unless there is take(). -EIO and f->error, which has the
 * collector's own words where it gave any; what take() returned. */
int fetch_call(struct fetch *f, const struct fetch_request *q, struct buf *ret);
