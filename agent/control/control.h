/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The control socket: who may ask what, and delivery that never waits for a reader. What an
 * answer says is the daemon's business (callbacks). One thread, sd-event. */
#include <jansson.h>
#include <sys/types.h>
#include "agent/control/request.h"

#define CONTROL_CLIENTS_MAX      64 /* root may have CONTROL_CLIENTS_ROOT more */
#define CONTROL_CLIENTS_ROOT     8
#define CONTROL_CLIENTS_PER_USER 16
#define CONTROL_OUTPUT_MAX       (512u << 10) /* a reader that far behind is dropped */
#define CONTROL_MY_DATA_MAX      4 /* at once, but for root's */
#define CONTROL_MY_DATA_PER_USER 2

struct sd_event;
struct control;

struct control_handlers {
        /* status, why, reload: a new object without "ok", or NULL and a sentence in ret_error. */
        json_t *(*answer)(const struct control_request *q, uid_t uid, char ret_error[static CONTROL_ERROR_MAX],
                          void *userdata);
        /* my-data, in a forked child: write the JSON array of the records about uid to fd. */
        int (*my_data)(int fd, uid_t uid, void *userdata);
        void *userdata;
};

/* Listens on `path`, replacing what is there; SIGCHLD must be blocked. */
int control_new(const char *path, struct sd_event *event, const struct control_handlers *h, struct control **ret);
struct control *control_free(struct control *c); /* removes the socket; returns NULL */

/* Keeps a notice for its user and sends it to followers. */
int control_notice(struct control *c, uid_t uid, json_t *notice);

/* For my_data handlers: waits a bounded time for a slow reader. -ETIMEDOUT. */
int control_write(int fd, const void *data, size_t size);
