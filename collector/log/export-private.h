/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Private to the two halves of the export. */
#include "collector/log/export.h"
#include "evidence/verify.h"

enum export_phase {
        EXPORT_HEAD,
        EXPORT_DEVICE,
        EXPORT_BATCH,
        EXPORT_AUDIT,
        EXPORT_END,
        EXPORT_DONE,
};

struct export_log {
        struct tlog_head head;
        struct tlog_reader *reader; /* owned */
};

struct export
{
        struct export_options options; /* filter: see below */
        struct store_filter filter;
        char *owned[8]; /* its strings */
        struct db *db;
        struct bundle_writer writer;
        enum export_phase phase;
        struct export_log logs[VERIFY_LOGS_MAX];
        size_t n_logs;
        int64_t *devices;
        size_t n_devices, device;
        char device_id[DEVICE_ID_MAX];
        int64_t cursor, last; /* first record of the next batch and of the last one; the audit's number */
        struct bundle_seen *seen;
        size_t n_seen;
};

static inline int64_t export_to(const struct export *e)
{
        return e->filter.to_ms > INT64_MAX || e->filter.to_ms == 0 ? INT64_MAX : (int64_t)e->filter.to_ms;
}
struct export_log *export_log_find(struct export *e, int64_t number);
/* Fills in the log's name and the proof for leaf->index. */
int export_leaf(struct export_log *l, struct bundle_leaf *leaf);
/* ---- export-batch.c ---- */
/* From which batch of the device to which: all between are in the bundle, so that nothing is left out. */
int export_range(struct export *e);
/* 1 one was written, 0 the device has no more. */
int export_batch(struct export *e, struct buf *out);
