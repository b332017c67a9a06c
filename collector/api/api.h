/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The calls of ARCHITECTURE.md, "Agent and collector", and of the page, between the HTTP servers and the store. */
#include "collector/net/firm.h"
#include "collector/net/http.h"
#include "collector/store/store.h"

#define API_RECEIVERS_MAX 16

struct api;

struct api_options {
        struct loop *loop;
        struct store *store; /* borrowed */
        const char *device_ca; /* PEM files: signs device certificates */
        const char *device_ca_key;
        const char *server_ca; /* told to agents, with next_ca where that is there */
        const char *next_ca;
        uint64_t lifetime_s, grace_s; /* of devices' certificates; 0: PKI_LIFETIME_S, none */
        const struct firm *firm; /* vouches for devices in place of a token; NULL: none */
        const char *database; /* as store_open() takes it: exports have a connection of their own */
        const char *log_key; /* the Merkle log's key, made when it is not there; NULL: no log */
        const char *exemption_key; /* a secret key with a password, with which the page signs; where it may be */
        const char *log_origin; /* its name, when it is made */
        const char *metrics_token; /* a file, whose first line GET /metrics asks for; NULL: there are no metrics */
        const char *receivers[API_RECEIVERS_MAX + 1]; /* names of what records are forwarded to; up to NULL */
};

/* Before the servers are made: commits must come before answers go out. */
int api_new(const struct api_options *o, struct api **ret, struct diag *reterr);
/* Answers who waits for a policy; the store gets what is only in memory. */
void api_stop(struct api *a);
bool api_is_idle(const struct api *a); /* nothing waits for the store */
void api_free(struct api *a);
/* To say in answers how far reconnects should spread, and for metrics; borrowed. */
void api_set_servers(struct api *a, struct http_server *agents, const struct http_server *page);

/* Routes, headers and limits of the two listeners; userdata is the api. */
void api_agents_config(struct api *a, struct http_config *ret);
void api_page_config(struct api *a, struct http_config *ret);
