/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Between the halves of the reporter: report.c has its life and collects attempts, write.c makes records of them. */
#include <systemd/sd-event.h>
#include "agent/report/journal.h"

struct report {
        struct record_context context; /* points into the texts below */
        char device_id[DEVICE_ID_MAX];
        char os_name[OS_TEXT_MAX], os_version[OS_TEXT_MAX];
        char *device_name, *boot_id, *ack_path, *state_dir, *runtime_dir;
        uint64_t spool_max_bytes;
        int group;
        bool has_policy; /* it was set */
        bool is_new_device; /* the key before was damaged */
        char *organisation, *policy_hash, *policy_signer, *catalogue_version;
        uint8_t public_key[DEVICE_KEY_SIZE], secret[DEVICE_SECRET_SIZE];

        struct spool *spool;
        struct collapse collapse;
        struct journal *journal; /* NULL: what is collected does not outlive a kill */
        bool in_runtime; /* where that is */
        sd_event_source *timer, *seal, *sync;
        void (*notice_handler)(const struct report_notice *, void *);
        void *notice_userdata;
        struct journal_losses losses; /* since the last coverage record */
        uint64_t retry_ms; /* the spool took nothing: not before, CLOCK_MONOTONIC */
};

/* ---- keep.c: where the journal is: in STATE, or in RUNTIME while STATE is read-only ---- */

/* Takes over what the agent before this one left. */
int keep_open(struct report *r);
/* The disk may have turned read-only, or take something again: the journal moves. */
void keep_look(struct report *r);
void keep_losses(struct report *r); /* r->losses have changed */
/* Seals the spool: attempts whose record stands there are forgotten, those whose record does not are collected again. */
int keep_sealed(struct report *r);
/* A record stands for all attempts of e, or they are counted as lost. */
void keep_has_record(struct report *r, struct collected *e);

/* ---- write.c ---- */

/* The journal first: a power cut counts nothing twice; and attempts are in it until their record is sealed: none is lost. */
int report_seal(struct report *r);
/* Attempts that no record will stand for: the next coverage record says how many. */
void report_lose(struct report *r, uint64_t attempts);
/* Now or never. */
int report_write(struct report *r, const struct violation *v, uint64_t policy_serial);
/* A collapse_handler. What the spool does not take stays collected: a full disk costs no attempt as long as the table has
 * room. */
int report_write_collected(struct collected *e, void *userdata);
/* Records that are not acknowledged. */
uint64_t report_queue(const struct report *r);
