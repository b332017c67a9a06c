/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to forward/. */
#include <curl/curl.h>
#include "base/buf.h"
#include "collector/forward/forward.h"

#define FORWARD_ANSWER_MAX (1u << 20)
#define FORWARD_TIMEOUT_MS 30000

/* ---- form.c: pure ---- */

/* Adds one record in the destination's form; row->body must be there. */
void form_add(enum forward_form form, const struct store_row *row, struct buf *ret);
bool form_is_http(enum forward_form form);
const char *form_content_type(enum forward_form form);
/* "Authorization" value's first word */
const char *form_scheme(enum forward_form form);

/* Judges a receiver's answer to a POST. 0 taken (of those *ret_refused refused for ever), -EAGAIN not now,
 * -EBADMSG something in it, or its size, is refused: send it in parts. *ret_problem says why. */
struct form_answer {
        enum forward_form form;
        long status;
        const char *body;
        size_t size;
};
int form_judge(const struct form_answer *a, unsigned *ret_refused, char ret_problem[static FORWARD_PROBLEM_MAX]);

/* ---- post.c, stream.c ---- */

struct sender {
        const struct forward_config *config;
        const bool *stopping;
        CURL *easy;
        char error[CURL_ERROR_SIZE];
        char problem[FORWARD_PROBLEM_MAX];
        uint64_t retry_after_s; /* the receiver's word; 0 none */
        bool connected; /* stream */
};
/* What both have in common: TLS, limits. -EINVAL, -ENOMEM */
int sender_prepare(struct sender *s, const char *url);
void sender_done(struct sender *s);
/* 0 taken, -EAGAIN, -EBADMSG as above, -ECANCELED stopping; s->problem says why. */
int post_send(struct sender *s, const struct buf *body, unsigned *ret_refused);
/* 0 when the receiver's kernel has acknowledged all of it: syslog over TLS knows no other acknowledgement. */
int stream_send(struct sender *s, const struct buf *body);
