/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What agents are sent, put together for each of them from the parts of offer.h: its ring's policy, the catalogue, policies
 * that change keys, exemptions that are for it. Kept in memory; the database is asked each second whether anything has
 * changed, and agents that wait are answered when what is theirs has. */
#include "collector/api/offer.h"
#include "collector/net/http.h"

#define BUNDLE_WAIT_MAX 300 /* seconds */

struct bundle;
int bundle_open(struct store *s, struct bundle **ret, struct diag *reterr);
/* Looks for changes. Once a second. */
void bundle_tick(struct bundle *b);
/* Answers who waits with 304. */
void bundle_stop(struct bundle *b);
void bundle_free(struct bundle *b);
/* Answers with the device's bundle, or 304, or holds the request for wait_s. */
void bundle_answer(struct bundle *b, struct http_request *req, const struct store_device *device, unsigned wait_s,
                   unsigned spread_s);
