/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Facts become violations, repeats collapse, violations become records in the spool. Owns the
 * spool and the device key. Runs as root, never waits for the network.
 *
 * A violation is collected under (user, program path, channel, layer, tier, outcome). The first record
 * is written REPORT_SETTLE_MS after the first attempt (so that A and AAAA queries are one),
 * with the attempts until then as its count; further attempts within REPORT_WINDOW_MS give one
 * more record with the same violation id when the window closes. Tamper and coverage are
 * never collapsed. */
#include <stdbool.h>
#include <stdint.h>
#include "agent/fact.h"
#include "record/record.h"
#include "rules/rules.h"

#define REPORT_SETTLE_MS 200
#define REPORT_WINDOW_MS 60000
#define REPORT_OPEN_MAX  4096 /* violations collected at once; beyond: written at once, uncollapsed */
#define REPORT_OPEN_USER 512 /* of one person; beyond: one a channel, without the program */

struct report_options {
        const char *state_dir; /* device.key, device.pub, spool/, uplink/ack, collected below it */
        const char *runtime_dir; /* collected is there while state_dir is read-only; NULL: in memory alone */
        const char *device_name;
        const char *boot_id;
        uint64_t spool_max_bytes;
        int group; /* gid of the uplink, or -1 */
        uint64_t settle_ms, window_ms; /* 0: REPORT_SETTLE_MS, REPORT_WINDOW_MS */
};

/* What a person is told at once (control/ passes it on). Borrowed, valid during the call. */
struct report_notice {
        uint32_t uid;
        const char *violation_id;
        const char *channel_name;
        const char *channel;
        const char *program; /* or NULL */
        const char *text; /* the policy's notice */
        const char *help; /* or NULL */
        const struct violation *violation;
};

struct report;
struct sd_event;

/* Opens or makes the device key and the spool; adds its timers to the event loop.
 * -EBUSY another agent holds the spool. A device.key that is malformed is set aside, and with it the spool: is_new_device. */
int report_new(const struct report_options *o, struct sd_event *event, struct report **ret);
struct report *report_free(struct report *r); /* writes what is open, seals */

/* Which policy later records name: only policy_* and catalogue_version are taken, and copied.
 * What is collected is written first, under the policy before. */
int report_set_policy(struct report *r, const struct record_context *policy);
void report_set_notice_handler(struct report *r, void (*handler)(const struct report_notice *, void *),
                               void *userdata);

/* Takes a completed fact; rs is the rule set of f->generation. Calls the notice handler at once for
 * the first attempt that was stopped. An allowed channel gives nothing, unless an exemption allows it:
 * class exemption-use; nor does a name of ENTRY_PROBE. -ESTALE when rs is NULL or
 * does not know the channel: counted as `unresolved` in the next coverage record. */
int report_fact(struct report *r, const struct fact *f, const struct ruleset *rs);
int report_tamper(struct report *r, const char *what, enum outcome outcome); /* LAYER_AGENT */
int report_tamper_at(struct report *r, enum layer layer, const char *what, enum outcome outcome);
/* A break-glass token opens the device: class exemption-use, LAYER_AGENT. */
int report_glass(struct report *r, const char *id, const char *what);
/* Somebody asks for an exemption; fills `id` and `user`. */
int report_request(struct report *r, struct access_request *q);
int report_coverage(struct report *r, struct coverage *c); /* fills queue, clock; seals at once */
/* Device key and spool as they should be? Puts back what it can. 0 yes, 1 mended; *ret_lost records
 * could not be saved (`bytes`: every segment is read again). Negative: cannot be mended now. */
int report_mend(struct report *r, bool bytes, uint64_t *ret_lost);
/* Look at uplink/ack (decimal text) and free acknowledged segments. -ENOENT no file, -EBADMSG not a
 * number, -ERANGE a number that was never shipped: nothing is freed then. */
int report_read_ack(struct report *r);

/* STATE/aside: device.key and spool/ of before this machine had a key of its own, put there by hand (onchannel-uplink(8),
 * TWO MACHINES WITH ONE KEY). Seals what is not, and takes the folder away when the collector has it all. *ret_left: number
 * of its last record while some wait, else 0. -ENOTEMPTY something else is in it, -ENOENT it has no key. */
#define ASIDE_ACK "ack-aside" /* below STATE/uplink, as `ack` */
int aside_tend(const struct report_options *o, uint64_t *ret_left);

struct report_state {
        const char *device_id;
        uint64_t next_seq;
        const uint8_t *head; /* of the last record */
        uint64_t acknowledged;
        uint64_t queue; /* records not acknowledged */
        uint64_t spool_bytes;
        uint64_t damaged_bytes; /* of the spool, set aside at the start */
        uint64_t torn_bytes; /* the same, cut off at its end: a record that was not written to its end */
        bool is_new_device;
        uint64_t
                refused; /* attempts that are lost, told by the next coverage record, and records that wait for room */
};
void report_get_state(const struct report *r, struct report_state *ret);
