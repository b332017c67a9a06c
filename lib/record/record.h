/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Records as they are written, shipped and kept: OCSF 1.8.0 JSON, one line each, no newline.
 * What a record may hold is exactly what these structs hold; there is no field for
 * arguments, environment, working directory, URLs or unmatched names. No I/O. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "record/chain.h"
#include "record/note.h"

#define RECORD_MAX_BYTES (16u << 10)

enum layer {
        LAYER_EXEC,
        LAYER_DNS,
        LAYER_CONNECT,
        LAYER_TLS,
        LAYER_QUIC,
        LAYER_HTTP,
        LAYER_BROWSER,
        LAYER_AGENT, /* tamper: the agent's own watch */
        _LAYER_MAX,
};
enum tier {
        TIER_PROGRAM,
        TIER_NAME,
        TIER_ADDRESS,
        TIER_NONE, /* tamper, coverage */
        _TIER_MAX,
};
enum outcome {
        OUTCOME_PASSED, /* watched: OCSF action Observed, disposition Detected */
        OUTCOME_DENIED, /* Denied, Blocked */
        OUTCOME_KILLED, /* Denied, Blocked (status_detail "killed") */
        OUTCOME_DROPPED, /* Denied, Dropped */
        OUTCOME_RESET, /* Denied, Reset */
        OUTCOME_ALLOWED, /* exemption use: Allowed */
        _OUTCOME_MAX,
};
const char *layer_to_string(enum layer l); /* "exec", "dns", "connect", "tls", … */
const char *tier_to_string(enum tier t); /* "program", "name", "address", "none" */
const char *outcome_to_string(enum outcome o);

/* What every record of this device carries. Borrowed strings. */
struct record_context {
        const char *device_uid; /* chain.h: device_id_format() */
        const char *device_name;
        const char *boot_id; /* /proc/sys/kernel/random/boot_id */
        const char *agent_version;
        const char *os_name; /* "Debian GNU/Linux" */
        const char *os_version;
        uint64_t policy_serial; /* 0: none */
        const char *policy_organisation; /* NULL: none */
        const char *policy_hash; /* SHA-256 of the policy's bytes, hex, or NULL */
        const char *policy_signer; /* key id as minisign prints it, or NULL */
        const char *catalogue_version;
};

struct violation {
        const char *id; /* UUIDv7 text; the same for all records of one window */
        const char *channel; /* id: "whatsapp" */
        const char *channel_name;
        const char *category;
        const char *class; /* "use", "bypass", "tamper", "exemption-use" */
        const char *verdict; /* "block", "watch", "allow" */
        enum layer layer;
        enum tier tier;
        enum outcome outcome;
        const char *entry; /* matched catalogue entry: "suffix whatsapp.com", or NULL */
        const char *entry_source; /* "whatsapp.ini:12", or NULL */
        uint32_t uid;
        const char *user; /* login name or NULL */
        uint32_t pid; /* 0 unknown */
        const char *program; /* path, or NULL */
        const char *program_name; /* comm, or NULL */
        const char *program_package; /* or NULL */
        const char *program_sha256; /* hex or NULL */
        const char *remote_address; /* text or NULL */
        uint16_t remote_port;
        const char *protocol; /* "tcp", "udp" or NULL */
        const char *exemption; /* id or NULL */
        const char *detail; /* tamper: what was found, one sentence; else NULL */
        uint64_t count; /* attempts that this record stands for, >= 1 */
        uint64_t first_ms; /* UTC, milliseconds since 1970 */
        uint64_t last_ms;
        bool notified; /* the employee was shown a notice */
};

enum coverage_event {
        COVERAGE_START,
        COVERAGE_HEARTBEAT,
        COVERAGE_POLICY, /* a policy was applied */
        COVERAGE_REFUSED, /* a policy or catalogue was refused: detail says why */
        COVERAGE_GAP, /* the agent was not running: gap_ms, downtime_events say how long, what was seen */
        COVERAGE_STOP,
        COVERAGE_CLOCK, /* somebody set the clock: detail says by how much */
        COVERAGE_EXEMPTION, /* one began, ended or was revoked: detail says which */
        COVERAGE_BREAK_GLASS, /* the same of a break-glass token */
        COVERAGE_WENT_BACK, /* a policy that was applied failed the self-test: the one before is in force again */
        COVERAGE_SLEEP, /* the machine slept for gap_ms and is awake again: nothing could happen meanwhile */
        _COVERAGE_EVENT_MAX,
};
const char *coverage_event_to_string(enum coverage_event e);

struct coverage {
        enum coverage_event event;
        const char *mode; /* "enforce", "monitor", "none" */
        bool policy_expired;
        const char *sensors; /* one line: "exec=signal dns=cgroup_skb connect=cgroup tls=cgroup_skb" */
        const char *browsers; /* "files=6 patterns=210", "off", or NULL */
        const struct checkpoint *seen; /* of the collector's log, as it was shown last, or NULL */
        const char *table_hash; /* SHA-256 of the live nftables table's dump, hex, or NULL */
        uint64_t lost; /* ring-buffer records lost since start */
        uint64_t refused; /* attempts since the last coverage record that neither the spool nor memory could keep */
        uint64_t unresolved; /* facts of a rule set that is gone, since the last coverage record */
        uint64_t queue; /* records in the spool, not acknowledged */
        bool clock_synchronised;
        bool self_test_passed;
        const char *canary; /* "blocked", "passed", "unproven": what became of a name that must be blocked, or NULL */
        uint64_t exemptions; /* in force */
        const char *break_glass; /* id of the token in force, or NULL */
        uint64_t gap_ms; /* how long before it nobody watched */
        uint64_t heartbeat_s; /* within which the next coverage record is due */
        const char *cause; /* of COVERAGE_START: "first", "boot", "upgrade", "restart"; else NULL */
        const char *detail; /* or NULL */
};

struct record_place {
        uint64_t seq; /* that the record will get */
        const uint8_t *prev; /* CHAIN_HASH_SIZE bytes: the hash of the one before it */
        uint64_t now_ms; /* UTC */
        uint64_t boottime_ms; /* CLOCK_BOOTTIME */
};

/* One OCSF line (free()) for the record that will stand there.
 * Classes: exec 1007, dns 4003, connect/tls/quic/http/browser 4001, tamper Detection Finding 2004,
 * coverage Device Config State Change 5019. What OCSF has no field for: unmapped.onchannel.
 * -E2BIG over RECORD_MAX_BYTES. */
int record_violation_encode(const struct record_context *c, const struct violation *v, const struct record_place *at,
                            char **ret, size_t *ret_size);
int record_coverage_encode(const struct record_context *c, const struct coverage *v, const struct record_place *at,
                           char **ret, size_t *ret_size);

/* Somebody asks to be exempted: User Access Management 3005. */
struct access_request {
        const char *id; /* UUIDv7 text */
        const char *channel, *channel_name;
        const char *reason; /* the person's own words */
        uint64_t hours; /* 0: not said */
        uint32_t uid;
        const char *user; /* login name or NULL */
};
int record_request_encode(const struct record_context *c, const struct access_request *v,
                          const struct record_place *at, char **ret, size_t *ret_size);

/* UUIDv7 (RFC 9562 5.7) text. */
#define UUID_TEXT_MAX 37
void uuid_v7(uint64_t now_ms, char ret[static UUID_TEXT_MAX]);

/* {"log","size","root"} as in coverage records; NULL for NULL or without memory. */
struct json_t *checkpoint_json(const struct checkpoint *c);
