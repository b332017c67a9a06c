/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The offline verifier: takes a bundle line by line, remembers what it proves and what is wrong, and where.
 * No I/O, no network, memory bounded by the number of devices, problems and holes. */
#include "base/diag.h"
#include "evidence/bundle.h"

#define VERIFY_PROBLEMS_MAX 1000 /* kept; more are counted */
#define VERIFY_HOLES_MAX    100 /* kept, a device */
#define VERIFY_LOGS_MAX     64
#define VERIFY_DEVICES_MAX  100000
#define VERIFY_KEYS_MAX     16

struct verify_options {
        struct note_key keys[VERIFY_KEYS_MAX], witnesses[VERIFY_KEYS_MAX]; /* known to be right, from elsewhere */
        size_t n_keys, n_witnesses;
        uint64_t heartbeat_s; /* a device writes a coverage record at least so often */
};

struct verify_problem {
        uint64_t line, byte; /* where the line begins; line 0: the whole bundle */
        char device[DEVICE_ID_MAX];
        uint64_t seq; /* 0: no record in particular */
        char *text;
};

struct verify_hole {
        uint64_t from_ms, to_ms;
        const char *why;
};

struct verify_device {
        struct bundle_device d;
        uint64_t first, next; /* records of the batches in the bundle; 0: none yet */
        uint8_t head[CHAIN_HASH_SIZE];
        uint64_t present, withheld, gone, erased, violations, coverage, batches, unlogged;
        uint64_t lost, refused; /* that the device says it could not record */
        /* coverage.c */
        uint64_t first_coverage_ms, last_coverage_ms, lost_before;
        bool stopped;
        struct verify_hole *holes;
        size_t n_holes;
        uint64_t uncovered_ms;
        uint64_t asleep_ms; /* the machine slept: not a hole, nothing could happen */
        uint64_t monitor_ms; /* watched, not enforced */
        bool enforced;
};

struct verify_log {
        struct note_key key;
        bool pinned; /* the key is one of the options' */
        struct checkpoint checkpoint;
        uint64_t cosigned[VERIFY_KEYS_MAX]; /* the size that each of the options' witnesses cosigned; 0: none */
        uint64_t cosigned_s[VERIFY_KEYS_MAX]; /* and when, UTC */
        uint64_t last_leaf; /* the highest index that was proved */
        uint64_t leaves; /* proved to be in it */
        uint64_t seen; /* earlier checkpoints proved to be in its history */
};

struct verify_echo { /* what a device says it saw */
        char log[NOTE_NAME_MAX];
        struct merkle_head head;
        uint64_t line, byte, seq;
        size_t device;
        bool proved;
};

struct verify {
        struct verify_options options;
        /* where it is */
        uint64_t line, byte;
        crypto_hash_sha256_state hash;
        struct bundle_batch batch; /* whose records follow */
        size_t batch_device;
        uint64_t batch_line, batch_byte, batch_next; /* index of the record that comes next */
        struct bundle_audit audit; /* number 0: none expected */
        bool in_batch, in_audit, skipping, ended;
        uint64_t skipped;
        /* what it found */
        bool has_head;
        char origin[NOTE_NAME_MAX], version[64];
        uint64_t created_ms, from_ms, to_ms;
        char *filter; /* JSON */
        bool signed_end;
        struct verify_log logs[VERIFY_LOGS_MAX];
        size_t n_logs;
        struct verify_device *devices;
        size_t n_devices;
        struct verify_echo *echoes;
        size_t n_echoes;
        uint64_t audits;
        struct verify_problem *problems;
        size_t n_problems, n_more_problems;
        bool no_memory;
};

struct verify *verify_new(const struct verify_options *o);
struct verify *verify_free(struct verify *v);
DEFINE_CLEANUP(struct verify, verify_free)
/* The next line, without its newline. */
void verify_line(struct verify *v, const char *line, size_t size);
/* After the last one; `whole`: it ended in a newline. */
void verify_end(struct verify *v, bool whole);
static inline bool verify_holds(const struct verify *v)
{
        return v->n_problems == 0 && !v->no_memory;
}

/* ---- of its parts only ---- */
void verify_problem(struct verify *v, const struct verify_device *d, uint64_t seq, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
struct verify_log *verify_log_find(struct verify *v, const char *origin);
/* proofs.c */
void verify_checkpoint(struct verify *v, json_t *o);
void verify_cosigned(struct verify *v, json_t *o);
void verify_witnesses(struct verify *v);
void verify_seen(struct verify *v, json_t *o);
/* Is this entry where it is said to be? Returns false when it is in no log yet. */
bool verify_leaf(struct verify *v, const struct verify_device *d, const struct bundle_leaf *l,
                 const struct buf *entry);
void verify_signed_end(struct verify *v, json_t *o);
void verify_echoes(struct verify *v);
/* coverage.c: a record whose bytes are right. */
void verify_record(struct verify *v, struct verify_device *d, uint64_t seq, const uint8_t *prev, const char *text,
                   size_t size);
void verify_coverage_end(struct verify *v, struct verify_device *d);
