/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The collector's folder: where things are in it, and collector.ini. */
#include "base/diag.h"
#include "collector/forward/forward.h"
#include "collector/net/firm.h"
#include "collector/net/message.h"

#define CONFIG_MAX_BYTES 16384

struct config {
        char *dir;
        char *agents; /* "ADDRESS:PORT" to listen on */
        char *page;
        char *store; /* what store_open() takes */
        char *metrics_token; /* a file; NULL: no metrics */
        unsigned agents_max; /* connections of agents at once; 0: as api.h has it */
        uint64_t lifetime_s, grace_s; /* of devices' certificates */
        struct firm firm;
        struct forward_configs forward; /* [forward NAME] */
        /* paths below dir */
        char *device_ca, *device_ca_key, *server_ca, *server_ca_key, *server, *server_key, *log_key, *exemption_key;
        char *next_ca, *next_ca_key, *old_ca; /* of the server: to come, and the one before */
        char *ini;
};
void config_done(struct config *c);
/* The paths alone; collector.ini is not read. */
int config_paths(const char *dir, struct config *ret);
/* Paths and collector.ini. *reterr says what is wrong, also when the folder was never initialised. */
int config_load(const char *dir, struct config *ret, struct diag *reterr);
