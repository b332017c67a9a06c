/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The calls of ARCHITECTURE.md, "Agent and collector", and of the page, between the HTTP servers and the store. */
#include "collector/net/http.h"
#include "collector/store/store.h"

struct api;

struct api_options {
        struct loop *loop;
        struct store *store; /* borrowed */
        const char *device_ca; /* PEM files: signs device certificates */
        const char *device_ca_key;
        const char *server_ca; /* told to agents at enrolment */
        const char *database; /* as store_open() takes it: exports have a connection of their own */
        const char *log_key; /* the Merkle log's key, made when it is not there; NULL: no log */
        const char *log_origin; /* its name, when it is made */
};

/* Before the servers are made: commits must come before answers go out. */
int api_new(const struct api_options *o, struct api **ret, struct diag *reterr);
/* Answers what is held; no request is held afterwards. */
void api_stop(struct api *a);
void api_free(struct api *a);
/* Of the agents' listener, to say in answers how far reconnects should spread; borrowed. */
void api_set_agents_server(struct api *a, const struct http_server *s);

/* Routes, headers and limits of the two listeners; userdata is the api. */
void api_agents_config(struct api *a, struct http_config *ret);
void api_page_config(struct api *a, struct http_config *ret);
