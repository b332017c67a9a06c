/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* What agents are sent: policy and catalogue, each with its signature in one file of its own
 * ({"file":text,"minisig":text}), so that replacing both is one rename. Agents that wait for a
 * newer bundle are answered as soon as inotify tells of one. */
#include "collector/net/http.h"

#define BUNDLE_POLICY_MAX    (1u << 20) /* as agents take it */
#define BUNDLE_FILE_MAX      (64u << 20)
#define BUNDLE_SIGNATURE_MAX 2048
#define BUNDLE_WAIT_MAX      300 /* seconds */

enum bundle_part {
        BUNDLE_POLICY,
        BUNDLE_CATALOGUE,
        _BUNDLE_PART_MAX,
};

/* Check a file and its minisign signature for shape (not for trust: agents do that) and put
 * them into the folder. -EBADMSG not UTF-8, or signed as something else; -EFBIG. */
int bundle_put(const char *dir, enum bundle_part part, const char *file, struct diag *reterr);

/* Name of the part in files and tables. */
const char *bundle_part_name(enum bundle_part part);
/* The text as it was put into the folder (free()); -ENOENT. */
int bundle_read(const char *dir, enum bundle_part part, char **ret);
/* Text that bundle_read() has given at another collector. */
int bundle_write(const char *dir, enum bundle_part part, const char *json);

struct bundle;
int bundle_open(struct loop *l, const char *dir, struct bundle **ret, struct diag *reterr);
/* Answers who waits with 304. */
void bundle_stop(struct bundle *b);
void bundle_free(struct bundle *b);
/* Answers with the bundle, or 304, or holds the request for wait_s. */
void bundle_answer(struct bundle *b, struct http_request *req, unsigned wait_s, unsigned spread_s);
