/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Records go on to other systems, as they are kept: OCSF JSON over HTTPS (Splunk's HTTP Event Collector, Elastic's
 * bulk call, plain lines), syslog and CEF over TLS. One thread and one connection to the database a destination, so
 * that none waits for another and ingest for none.
 *
 * Each destination has a place in every device's chain, kept in the database and moved when the receiver has
 * taken what was before it: at least once, in order of the device. Where several collectors share a database, one
 * of them forwards. What a receiver refuses for ever is counted and left out; anything else is tried again. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/diag.h"
#include "collector/store/forwarding.h"

#define FORWARD_MAX 16 /* destinations */

enum forward_form {
        FORWARD_HEC, /* Splunk: POST …/services/collector/event */
        FORWARD_ELASTIC, /* POST …/INDEX/_bulk; the document's id is "device:seq", so that nothing is there twice */
        FORWARD_NDJSON, /* POST, a record a line */
        FORWARD_SYSLOG, /* RFC 5424 over TLS (RFC 5425); the record is the message */
        FORWARD_CEF, /* Common Event Format, as the message of RFC 5424 */
        _FORWARD_FORM_MAX,
};

struct forward_config { /* [forward NAME] of collector.ini */
        char name[FORWARD_NAME_MAX];
        unsigned line;
        enum forward_form form;
        bool has_form, coverage; /* coverage records as well */
        bool has_coverage;
        uint64_t since_ms; /* nothing older */
        char *url; /* https://…; tls://HOST:PORT of syslog and CEF */
        char *ca; /* PEM; NULL: the system's */
        char *certificate, *key; /* NULL: none */
        char *token; /* a file that only its owner reads; its first line is sent */
};

struct forward_configs {
        struct forward_config items[FORWARD_MAX];
        size_t n;
};
void forward_configs_done(struct forward_configs *c);
/* A section or, with a key, what is in it. -EBADMSG, -ENOTUNIQ, -E2BIG with *reterr. */
struct forward_key {
        const char *file, *section, *key, *value; /* section without "forward "; key NULL: it begins */
        unsigned line;
};
int forward_config_set(struct forward_configs *c, const struct forward_key *k, struct diag *reterr);
/* Is each whole, are its files there? */
int forward_configs_check(const struct forward_configs *c, const char *file, struct diag *reterr);

struct forward;
/* Both arguments must outlive it. `store` as store_open() takes it. */
int forward_start(const char *store, const struct forward_configs *c, struct forward **ret, struct diag *reterr);
/* Ends the threads; accepts NULL. */
void forward_stop(struct forward *f);
