/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* One line of the control socket -> a request. Any user may send any bytes here. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "content/content.h"

#define CONTROL_LINE_MAX    4096
#define CONTROL_SUBJECT_MAX 1024
#define CONTROL_USER_MAX    64
#define CONTROL_REASON_MAX  256
#define CONTROL_HOURS_MAX   8784

enum control_verb {
        CONTROL_STATUS,
        CONTROL_WHY,
        CONTROL_NOTICES,
        CONTROL_MY_DATA,
        CONTROL_RELOAD,
        CONTROL_EXEMPTION,
        CONTROL_REQUEST,
        _CONTROL_VERB_MAX,
};

struct control_request {
        enum control_verb verb;
        bool follow; /* notices */
        char subject[CONTROL_SUBJECT_MAX + 1]; /* why; request: the channel's id */
        char text[CONTROL_LINE_MAX], minisig[CONTROL_LINE_MAX]; /* exemption: a signed file */
        char reason[CONTROL_REASON_MAX + 1]; /* request */
        uint64_t hours; /* request; 0 not said */
        char user[CONTROL_USER_MAX + 1]; /* why: "" the caller */
        struct content file; /* why: what the caller could read of the subject's file, or says so */
};

/* Error text of an answer, for a person. */
#define CONTROL_ERROR_MAX 256

/* -EBADMSG, and a sentence in ret_error. */
int control_request_parse(const char *line, size_t size, struct control_request *ret,
                          char ret_error[static CONTROL_ERROR_MAX]);
/* May this user ask that? 0, or -EPERM and a sentence. */
int control_request_allowed(const struct control_request *q, uid_t uid, char ret_error[static CONTROL_ERROR_MAX]);
