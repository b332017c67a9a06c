/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records as OCSF 1.8.0 events. Key order is that of the code: jansson keeps it. */
#include "record/record.h"
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

#define TEXT_MAX     4097 /* an escaped path with its NUL */
#define OCSF_VERSION "1.8.0"

enum { /* OCSF 1.8.0 enumerations, only what is used */
       SEVERITY_INFORMATIONAL = 1,
       SEVERITY_MEDIUM = 3,
       SEVERITY_HIGH = 4,
       STATUS_SUCCESS = 1,
       STATUS_FAILURE = 2,
       DEVICE_LAPTOP = 3,
       OS_LINUX = 200,
       FILE_REGULAR = 1,
       HASH_SHA256 = 3,
       DIRECTION_OUTBOUND = 2,
       LAUNCH_EXEC = 3,
       CONFIG_DISABLED = 1,
       CONFIG_ENABLED = 2,
       LEVEL_SECURE = 1,
       LEVEL_AT_RISK = 2,
};

struct ocsf_class {
        int category;
        int class;
        int activity;
};
#define CLASS_PROCESS_LAUNCH                                                                                         \
        {                                                                                                            \
                1, 1007, 1                                                                                           \
        }
#define CLASS_FINDING_CREATE                                                                                         \
        {                                                                                                            \
                2, 2004, 1                                                                                           \
        }
#define CLASS_NETWORK_OPEN                                                                                           \
        {                                                                                                            \
                4, 4001, 1                                                                                           \
        }
#define CLASS_DNS_QUERY                                                                                              \
        {                                                                                                            \
                4, 4003, 1                                                                                           \
        }
#define CLASS_ACCESS_OTHER                                                                                           \
        {                                                                                                            \
                3, 3005, 99                                                                                          \
        }
/* Device Config State (5002) is deprecated since OCSF 1.5.0. */
#define CLASS_CONFIG_CHANGE_LOG                                                                                      \
        {                                                                                                            \
                5, 5019, 1                                                                                           \
        }

static const struct ocsf_class layer_classes[] = {
        [LAYER_EXEC] = CLASS_PROCESS_LAUNCH,  [LAYER_DNS] = CLASS_DNS_QUERY,
        [LAYER_CONNECT] = CLASS_NETWORK_OPEN, [LAYER_TLS] = CLASS_NETWORK_OPEN,
        [LAYER_QUIC] = CLASS_NETWORK_OPEN,    [LAYER_HTTP] = CLASS_NETWORK_OPEN,
        [LAYER_BROWSER] = CLASS_NETWORK_OPEN, [LAYER_AGENT] = CLASS_FINDING_CREATE,
};
_Static_assert(ELEMENTSOF(layer_classes) == _LAYER_MAX, "enum layer");

static const struct { /* OCSF action_id, disposition_id */
        int action, disposition;
} outcome_ids[] = {
        [OUTCOME_PASSED] = {3, 15}, [OUTCOME_DENIED] = {2, 2}, [OUTCOME_KILLED] = {2, 2},
        [OUTCOME_DROPPED] = {2, 6}, [OUTCOME_RESET] = {2, 21}, [OUTCOME_ALLOWED] = {1, 1},
};
_Static_assert(ELEMENTSOF(outcome_ids) == _OUTCOME_MAX, "enum outcome");

/* For what is not ours: a path, a process name, a login name may hold any byte. NULL stays NULL. */
static json_t *text(const char *s)
{
        char buf[TEXT_MAX];

        if (!s)
                return NULL;
        text_escape(s, buf, sizeof(buf));
        return json_string(buf);
}

static json_t *number(uint64_t v)
{
        return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static json_t *number_unless_zero(uint64_t v)
{
        return v > 0 ? number(v) : NULL;
}

static json_t *metadata_new(const struct record_context *c, uint64_t seq)
{
        return json_pack("{s:s, s:o, s:o, s:[ss], s:{s:s, s:s, s:s}}", "version", OCSF_VERSION, "uid",
                         json_sprintf("%s:%llu", c->device_uid, (unsigned long long)seq), "sequence", number(seq),
                         "profiles", "host", "security_control", "product", "name", "onchannel", "vendor_name",
                         "onchannel", "version", c->agent_version);
}

static json_t *device_new(const struct record_context *c)
{
        return json_pack("{s:s, s:o*, s:i, s:s*, s:{s:o*, s:o*, s:i}}", "uid", c->device_uid, "hostname",
                         text(c->device_name), "type_id", DEVICE_LAPTOP, "boot_uid", c->boot_id, "os", "name",
                         text(c->os_name ? c->os_name : "Linux"), "version", text(c->os_version), "type_id",
                         OS_LINUX);
}

static json_t *policy_new(const struct record_context *c)
{
        if (c->policy_serial == 0)
                return NULL;
        return json_pack("{s:o, s:o, s:b}", "uid", text(c->policy_organisation ? c->policy_organisation : "policy"),
                         "version", json_sprintf("%llu", (unsigned long long)c->policy_serial), "is_applied", 1);
}

static json_t *user_new(const struct violation *v)
{
        return json_pack("{s:o*, s:o}", "name", text(v->user), "uid", json_sprintf("%u", v->uid));
}

static json_t *process_new(const struct violation *v)
{
        const char *slash = v->program ? strrchr(v->program, '/') : NULL;
        json_t *file = NULL, *hashes = NULL;

        if (v->program_sha256)
                hashes = json_pack("[{s:i, s:s}]", "algorithm_id", HASH_SHA256, "value", v->program_sha256);
        if (v->program)
                file = json_pack("{s:o, s:o, s:i, s:o*}", "name", text(slash ? slash + 1 : v->program), "path",
                                 text(v->program), "type_id", FILE_REGULAR, "hashes", hashes);
        else
                json_decref(hashes);
        if (!file && !v->program_name && v->pid == 0)
                return NULL;
        /* OCSF 1.8.0 process: pid or uid at least */
        return json_pack("{s:o*, s:s*, s:o*, s:o*}", "pid", number_unless_zero(v->pid), "uid", v->pid ? NULL : v->id,
                         "name", text(v->program_name), "file", file);
}

static json_t *rule_new(const struct record_context *c, const struct violation *v)
{
        if (!v->entry)
                return NULL;
        return json_pack("{s:s, s:s*, s:s*}", "uid", v->entry_source ? v->entry_source : v->entry, "name", v->entry,
                         "version", c->catalogue_version);
}

static json_t *prev_new(const uint8_t prev[static CHAIN_HASH_SIZE])
{
        char hex[2 * CHAIN_HASH_SIZE + 1];

        hex_encode(prev, CHAIN_HASH_SIZE, hex);
        return json_string(hex);
}

/* Takes the value; a NULL fails. Sticky: *failed stays set. */
static void put(json_t *root, const char *key, json_t *value, bool *failed)
{
        if (json_object_set_new(root, key, value) < 0)
                *failed = true;
}

static void put_optional(json_t *root, const char *key, json_t *value, bool *failed)
{
        if (value)
                put(root, key, value, failed);
}

static int severity(const struct violation *v)
{
        if (v->outcome == OUTCOME_ALLOWED)
                return SEVERITY_INFORMATIONAL;
        if (strcmp(v->class, "bypass") == 0 || strcmp(v->class, "tamper") == 0)
                return SEVERITY_HIGH;
        return SEVERITY_MEDIUM;
}

static json_t *event_new(const struct ocsf_class *k, int severity_id, uint64_t time_ms)
{
        return json_pack("{s:i, s:i, s:i, s:i, s:i, s:o}", "class_uid", k->class, "category_uid", k->category,
                         "activity_id", k->activity, "type_uid", k->class * 100 + k->activity, "severity_id",
                         severity_id, "time", number(time_ms));
}

/* What differs between a program start, a network attempt and a finding. */
static void put_subject(json_t *root, const struct record_context *c, const struct violation *v, bool *failed)
{
        json_t *process = NULL, *remote = NULL;

        if (v->layer == LAYER_AGENT) {
                put(root, "finding_info",
                    json_pack("{s:s, s:s, s:o*}", "uid", v->id, "title",
                              v->exemption ? "The device only watches" : "The agent was tampered with", "desc",
                              text(v->detail)),
                    failed);
                return;
        }

        process = process_new(v);
        if (v->layer == LAYER_EXEC) {
                put(root, "launch_type_id", json_integer(LAUNCH_EXEC), failed);
                put(root, "actor", json_pack("{s:o}", "user", user_new(v)), failed);
                put_optional(root, "process", process, failed);
                return;
        }

        put(root, "actor", json_pack("{s:o, s:o*}", "user", user_new(v), "process", process), failed);
        put_optional(root, "app_name", text(v->channel_name), failed);

        if (v->remote_address)
                remote =
                        json_pack("{s:s, s:o*}", "ip", v->remote_address, "port", number_unless_zero(v->remote_port));
        put_optional(root, "dst_endpoint", remote, failed);
        if (!remote) /* OCSF 1.8.0 network: one endpoint at least */
                put(root, "src_endpoint", json_pack("{s:s}", "uid", c->device_uid), failed);
        put(root, "connection_info",
            json_pack("{s:s*, s:i}", "protocol_name", v->protocol, "direction_id", DIRECTION_OUTBOUND), failed);
}

/* What OCSF has no field for. */
static json_t *violation_extra(const struct record_context *c, const struct violation *v,
                               const struct record_place *at)
{
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "kind", "violation", "id", v->id, "class",
                              v->class, "tier", tier_to_string(v->tier), "layer", layer_to_string(v->layer),
                              "outcome", outcome_to_string(v->outcome), "verdict", v->verdict);

        if (!o ||
            json_object_update_new(o, json_pack("{s:s*, s:o*, s:s*, s:s*, s:s*, s:o*, s:o*}", "channel", v->channel,
                                                "channel_name", text(v->channel_name), "category", v->category,
                                                "entry", v->entry, "entry_source", v->entry_source, "package",
                                                text(v->program_package), "detail", text(v->detail))) < 0 ||
            json_object_update_new(o, json_pack("{s:o, s:o, s:s*, s:s*, s:s*, s:b, s:s*}", "prev", prev_new(at->prev),
                                                "boottime_ms", number(at->boottime_ms), "policy_hash", c->policy_hash,
                                                "policy_signer", c->policy_signer, "catalogue", c->catalogue_version,
                                                "notified", v->notified, "exemption", v->exemption)) < 0) {
                json_decref(o);
                return NULL;
        }
        return json_pack("{s:o}", "onchannel", o);
}

static int finish(json_t *root, bool failed, char **ret, size_t *ret_size)
{
        _cleanup_free_ char *line = NULL;
        size_t size;

        if (failed)
                return -ENOMEM;
        line = json_dumps(root, JSON_COMPACT);
        if (!line)
                return -ENOMEM;
        size = strlen(line);
        if (size > RECORD_MAX_BYTES)
                return -E2BIG;
        *ret_size = size;
        *ret = TAKE_PTR(line);
        return 0;
}

int record_violation_encode(const struct record_context *c, const struct violation *v, const struct record_place *at,
                            char **ret, size_t *ret_size)
{
        json_auto_t *root = event_new(&layer_classes[v->layer], severity(v), v->first_ms ? v->first_ms : at->now_ms);
        json_t *extra = violation_extra(c, v, at);
        bool denied = v->outcome != OUTCOME_PASSED && v->outcome != OUTCOME_ALLOWED;
        bool failed = !root || !extra;

        put(root, "start_time", number(v->first_ms), &failed);
        put(root, "end_time", number(v->last_ms), &failed);
        put(root, "count", number(v->count), &failed);
        /* a finding's status is its life cycle: 1 is New */
        put(root, "status_id", json_integer(denied && v->layer != LAYER_AGENT ? STATUS_FAILURE : STATUS_SUCCESS),
            &failed);
        if (v->outcome == OUTCOME_KILLED)
                put(root, "status_detail", json_string("killed"), &failed);
        put(root, "action_id", json_integer(outcome_ids[v->outcome].action), &failed);
        put(root, "disposition_id", json_integer(outcome_ids[v->outcome].disposition), &failed);
        put(root, "is_alert", json_boolean(v->outcome != OUTCOME_ALLOWED), &failed);
        put(root, "metadata", metadata_new(c, at->seq), &failed);
        put(root, "device", device_new(c), &failed);
        put_subject(root, c, v, &failed);
        put_optional(root, "policy", policy_new(c), &failed);
        put_optional(root, "firewall_rule", rule_new(c, v), &failed);
        put(root, "unmapped", extra, &failed);
        return finish(root, failed, ret, ret_size);
}

json_t *checkpoint_json(const struct checkpoint *c)
{
        char root[2 * MERKLE_HASH_SIZE + 1];

        if (!c)
                return NULL;
        hex_encode(c->head.root, MERKLE_HASH_SIZE, root);
        return json_pack("{s:s, s:o, s:s}", "log", c->origin, "size", number(c->head.size), "root", root);
}

static json_t *coverage_extra(const struct record_context *c, const struct coverage *v, const struct record_place *at)
{
        json_t *coverage = json_pack(
                "{s:s, s:s, s:b, s:s*, s:s*, s:s*, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o*, s:o*}", "event",
                coverage_event_to_string(v->event), "mode", v->mode, "policy_expired", v->policy_expired, "sensors",
                v->sensors, "browsers", v->browsers, "table_hash", v->table_hash, "lost", number(v->lost), "refused",
                number(v->refused), "unresolved", number(v->unresolved), "queue", number(v->queue),
                "clock_synchronised", v->clock_synchronised, "self_test_passed", v->self_test_passed, "gap_ms",
                number(v->gap_ms), "detail", text(v->detail), "checkpoint", checkpoint_json(v->seen));

        if (coverage)
                json_object_update_new(coverage,
                                       json_pack("{s:s*, s:o, s:s*, s:s*, s:o}", "canary", v->canary, "exemptions",
                                                 number(v->exemptions), "break_glass", v->break_glass, "cause",
                                                 v->cause, "heartbeat", number(v->heartbeat_s)));
        return json_pack("{s:{s:s, s:o, s:o, s:s*, s:s*, s:s*, s:o}}", "onchannel", "kind", "coverage", "prev",
                         prev_new(at->prev), "boottime_ms", number(at->boottime_ms), "policy_hash", c->policy_hash,
                         "policy_signer", c->policy_signer, "catalogue", c->catalogue_version, "coverage", coverage);
}

int record_coverage_encode(const struct record_context *c, const struct coverage *v, const struct record_place *at,
                           char **ret, size_t *ret_size)
{
        static const struct ocsf_class config_change = CLASS_CONFIG_CHANGE_LOG;
        bool on = v->event != COVERAGE_STOP;
        bool secure = on && v->self_test_passed && !v->policy_expired && strcmp(v->mode, "enforce") == 0;
        bool failed_policy = v->event == COVERAGE_REFUSED || v->event == COVERAGE_WENT_BACK;
        json_auto_t *root =
                event_new(&config_change, failed_policy ? SEVERITY_MEDIUM : SEVERITY_INFORMATIONAL, at->now_ms);
        json_t *extra = coverage_extra(c, v, at);
        bool failed = !root || !extra;

        put(root, "state_id", json_integer(on ? CONFIG_ENABLED : CONFIG_DISABLED), &failed);
        put(root, "security_level_id", json_integer(secure ? LEVEL_SECURE : LEVEL_AT_RISK), &failed);
        put(root, "metadata", metadata_new(c, at->seq), &failed);
        put(root, "device", device_new(c), &failed);
        put_optional(root, "policy", policy_new(c), &failed);
        put(root, "unmapped", extra, &failed);
        return finish(root, failed, ret, ret_size);
}

int record_request_encode(const struct record_context *c, const struct access_request *v,
                          const struct record_place *at, char **ret, size_t *ret_size)
{
        static const struct ocsf_class access = CLASS_ACCESS_OTHER;
        const struct violation who = {.uid = v->uid, .user = v->user};
        json_auto_t *root = event_new(&access, SEVERITY_INFORMATIONAL, at->now_ms);
        bool failed = !root;

        put(root, "activity_name", json_string("Request"), &failed);
        put(root, "user", user_new(&who), &failed);
        put(root, "actor", json_pack("{s:o}", "user", user_new(&who)), &failed);
        put(root, "privileges", json_pack("[s]", v->channel), &failed);
        put_optional(root, "message", text(v->reason), &failed);
        put(root, "metadata", metadata_new(c, at->seq), &failed);
        put(root, "device", device_new(c), &failed);
        put_optional(root, "policy", policy_new(c), &failed);
        put(root, "unmapped",
            json_pack("{s:{s:s, s:s, s:s, s:o, s:o, s:o*, s:o, s:o, s:s*, s:s*, s:s*}}", "onchannel", "kind",
                      "request", "id", v->id, "channel", v->channel, "channel_name", text(v->channel_name), "reason",
                      text(v->reason), "hours", number_unless_zero(v->hours), "prev", prev_new(at->prev),
                      "boottime_ms", number(at->boottime_ms), "policy_hash", c->policy_hash, "policy_signer",
                      c->policy_signer, "catalogue", c->catalogue_version),
            &failed);
        return finish(root, failed, ret, ret_size);
}

void uuid_v7(uint64_t now_ms, char ret[static UUID_TEXT_MAX])
{
        uint8_t u[16];
        char hex[2 * sizeof(u) + 1];

        randombytes_buf(u, sizeof(u));
        for (int i = 0; i < 6; i++) /* RFC 9562 5.7: 48 bits of milliseconds, big-endian */
                u[i] = (uint8_t)(now_ms >> (40 - 8 * i));
        u[6] = (uint8_t)(0x70 | (u[6] & 0x0f)); /* version 7 */
        u[8] = (uint8_t)(0x80 | (u[8] & 0x3f)); /* variant 10 */
        hex_encode(u, sizeof(u), hex);
        snprintf(ret, UUID_TEXT_MAX, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}
