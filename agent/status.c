/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/runtime.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "bpf/event.h"

#define STATUS_DELAY_US    500000
#define UPLINK_PROBLEM_MAX 2048

static const char *const drop_reasons[] = {
        [DROP_RING_FULL] = "ring_full",
        [DROP_TASK_MAP_FULL] = "task_map_full",
        [DROP_FLOW_MAP_FULL] = "flow_map_full",
};
_Static_assert(ELEMENTSOF(drop_reasons) == _DROP_REASON_MAX, "every reason needs a name");

static json_t *time_json(time_t t)
{
        char text[TIME_TEXT_MAX];

        return json_string(time_format(t, text));
}

static json_t *diag_json(const struct diag *d)
{
        return json_pack("{s:s,s:I,s:s}", "file", d->file, "line", (json_int_t)d->line, "reason", d->text);
}

static json_t *refused_json(const struct refusal *f)
{
        json_t *o = *f->hash ? diag_json(&f->diag) : NULL;

        if (o) {
                json_object_set_new(o, "hash", json_string(f->hash));
                json_object_set_new(o, "time", time_json(f->when));
                json_object_set_new(o, "times", json_integer(f->times));
        }
        return o;
}

/* {"mode":"none"} without a policy. */
static json_t *policy_json(const struct runtime *rt)
{
        const struct stored *s = rt->store->policy;
        const struct policy *p = s ? s->policy : NULL;
        json_t *o;

        if (!p)
                o = json_pack("{s:s,s:n}", "mode", "none", "serial");
        else
                o = json_pack("{s:I,s:s,s:s,s:o,s:b,s:s,s:s}", "serial", (json_int_t)s->serial, "organisation",
                              p->organisation ? p->organisation : "", "mode",
                              policy_mode_to_string(rt->current->mode), "expires", time_json(p->expires), "expired",
                              p->expires <= store_time(rt->store, time(NULL)), "signer", s->signer, "hash", s->hash);
        if (o && p)
                json_object_set_new(o, "own_channels", json_integer(s->own ? (json_int_t)s->own->n_channels : 0));
        if (o && *rt->refused[STORE_POLICY].hash)
                json_object_set_new(o, "refused", refused_json(&rt->refused[STORE_POLICY]));
        return o;
}

static json_t *exempt_refused_json(const struct runtime *rt)
{
        json_t *list = json_array();

        for (size_t i = 0; i < EXEMPT_REFUSED_MAX; i++)
                if (*rt->exempt_refused[i].hash)
                        json_array_append_new(list, refused_json(&rt->exempt_refused[i]));
        return list;
}

/* The id of the token that has put the device into mode monitor. */
static json_t *glass_json(const struct runtime *rt)
{
        const struct held *h = exemptions_glass(rt->exemptions);

        return h ? json_string(h->exemption->id) : json_null();
}

static json_t *role_json(const struct trust_ring *ring, enum trust_role role, time_t now)
{
        json_t *keys = json_array();

        for (size_t i = 0; i < ring->n_keys[role]; i++) {
                char id[TRUST_KEY_ID_TEXT];

                trust_key_id_format(ring->keys[role][i].id, id);
                if (!trust_ring_is_revoked(ring, ring->keys[role][i].id, now))
                        json_array_append_new(keys, json_string(id));
        }
        return json_pack("{s:i,s:o}", "signatures", (int)trust_ring_needs(ring, role), "keys", keys);
}

/* Whose signature counts now, and what time it is at least. */
static json_t *trust_json(const struct runtime *rt)
{
        const time_t now = store_time(rt->store, time(NULL));
        struct trust_ring ring;
        json_t *o;

        keyring_now(&rt->store->keyring, &ring);
        o = json_pack("{s:o,s:I}", "time", time_json(now), "links", (json_int_t)rt->store->keyring.n_links);
        for (enum trust_role role = 0; o && role < _TRUST_ROLE_MAX; role++)
                json_object_set_new(o, trust_role_to_string(role), role_json(&ring, role, now));
        return o;
}

static json_t *catalogue_json(const struct runtime *rt)
{
        const struct stored *s = rt->store->catalogue;
        json_t *o =
                json_pack("{s:s,s:I,s:I,s:I,s:s,s:s}", "version", s->catalogue->version ? s->catalogue->version : "",
                          "serial", (json_int_t)s->serial, "channels", (json_int_t)s->catalogue->n_channels,
                          "entries", (json_int_t)(rt->current->n_entries - 1), "signer", s->signer, "hash", s->hash);

        if (o && *rt->refused[STORE_CATALOGUE].hash)
                json_object_set_new(o, "refused", refused_json(&rt->refused[STORE_CATALOGUE]));
        return o;
}

static json_t *counters_json(const struct runtime *rt)
{
        struct watch_counters w = {0};
        json_t *drops = json_object();

        watch_counters(rt->watch, &w);
        for (size_t i = 0; i < _DROP_REASON_MAX; i++)
                json_object_set_new(drops, drop_reasons[i], json_integer((json_int_t)w.drops[i]));
        return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "facts", (json_int_t)rt->counters.facts, "killed",
                         (json_int_t)rt->counters.killed, "reset", (json_int_t)rt->counters.reset, "stale",
                         (json_int_t)rt->counters.stale, "restored", (json_int_t)rt->counters.restored, "lost",
                         (json_int_t)w.lost, "drops", drops);
}

static json_t *spool_json(const struct report_state *s)
{
        return json_pack("{s:I,s:I,s:I,s:I,s:I}", "next_seq", (json_int_t)s->next_seq, "acknowledged",
                         (json_int_t)s->acknowledged, "queue", (json_int_t)s->queue, "bytes",
                         (json_int_t)s->spool_bytes, "refused", (json_int_t)s->refused);
}

/* The uplink's own word why it cannot ship; json_null() when all is well. */
static json_t *uplink_problem_json(const struct runtime *rt)
{
        _cleanup_free_ char *path = format_new("%s/uplink/problem", rt->config->state), *text = NULL;
        char safe[UPLINK_PROBLEM_MAX];

        if (!path || store_read_plain(path, UPLINK_PROBLEM_MAX / 4, &text, NULL) < 0)
                return json_null();
        text[strcspn(text, "\n")] = 0;
        text_escape(text, safe, sizeof(safe));
        return json_string(safe);
}

void status_contact(const struct runtime *rt, struct contact *ret)
{
        _cleanup_free_ char *path = format_new("%s/uplink/contact", rt->config->state), *text = NULL;
        char *reason;

        *ret = (struct contact){0};
        if (!path || store_read_plain(path, UPLINK_PROBLEM_MAX / 4, &text, NULL) < 0)
                return;
        text[strcspn(text, "\n")] = 0;
        ret->reached = (time_t)strtoull(text, &reason, 10);
        text_escape(reason + (*reason == ' '), ret->failing, sizeof(ret->failing));
}

static json_t *collector_json(const struct runtime *rt)
{
        struct contact c;

        status_contact(rt, &c);
        return json_pack("{s:o,s:o}", "reached", c.reached ? time_json(c.reached) : json_null(), "failing",
                         *c.failing ? json_string(c.failing) : json_null());
}

int status_seen(const struct runtime *rt, struct checkpoint *ret)
{
        _cleanup_free_ char *path = format_new("%s/uplink/checkpoint", rt->config->state), *note = NULL;
        size_t size, text_size;
        int r = path ? store_read_plain(path, NOTE_MAX_BYTES, &note, &size) : -ENOMEM;

        if (r >= 0)
                r = note_text(note, size, &text_size);
        return r < 0 ? r : checkpoint_parse(note, text_size, ret);
}

static json_t *tags_json(const struct config *c)
{
        json_t *list = json_array();

        for (char **t = c->tags; t && *t; t++)
                json_array_append_new(list, json_string(*t));
        return list;
}

json_t *status_new(struct runtime *rt)
{
        json_auto_t *incoming = json_sprintf("%s/incoming", rt->config->state);
        struct report_state s = {0};
        struct checkpoint seen;
        json_t *o;

        report_get_state(rt->report, &s);
        o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:o,s:o,s:s,s:b,s:o,s:o}", "device", s.device_id ? s.device_id : "",
                      "name", rt->config->device, "version", onchannel_version, "boot", rt->lastrun.boot_id, "uptime",
                      (json_int_t)((clock_boottime_ms() - rt->started_ms) / 1000), "policy", policy_json(rt),
                      "catalogue", catalogue_json(rt), "sensors", watch_sensors(rt->watch), "self_test_passed",
                      rt->self_test_passed, "counters", counters_json(rt), "spool", spool_json(&s));
        if (!o)
                return NULL;
        json_object_set_new(o, "started",
                            json_pack("{s:s,s:s*}", "cause", rt->cause, "version_before",
                                      *rt->version_before ? rt->version_before : NULL));
        if (rt->config_refused)
                json_object_set_new(o, "config", json_pack("{s:o}", "refused", diag_json(rt->config_refused)));
        json_object_set_new(o, "slept", json_integer((json_int_t)(rt->slept_ms / 1000)));
        json_object_set_new(o, "tags", tags_json(rt->config));
        json_object_set_new(o, "browsers", browsers_json(rt));
        json_object_set_new(o, "canary",
                            json_pack("{s:s,s:o,s:b}", "result", canary_to_string(rt->canary.result), "time",
                                      time_json(rt->canary.when), "went_back", rt->went_back));
        json_object_set_new(o, "exemptions", exempt_json(rt));
        json_object_set_new(o, "break_glass", glass_json(rt));
        json_object_set_new(o, "exemptions_refused", exempt_refused_json(rt));
        json_object_set_new(o, "trust", trust_json(rt));
        json_object_set_new(o, "table_hash", *rt->table_hash ? json_string(rt->table_hash) : json_null());
        if (status_seen(rt, &seen) == 0)
                json_object_set_new(o, "checkpoint", checkpoint_json(&seen));
        json_object_set(o, "incoming", incoming);
        json_object_set_new(o, "collector", collector_json(rt));
        json_object_set_new(o, "uplink_problem", uplink_problem_json(rt));
        return o;
}

static int group_of(const char *name)
{
        const struct group *g = getgrnam(name);

        return g ? (int)g->gr_gid : -1;
}

int status_write(struct runtime *rt)
{
        _cleanup_free_ char *path = format_new("%s/status.json", rt->config->runtime), *text = NULL;
        json_auto_t *o = status_new(rt);
        int gid = group_of(rt->config->uplink_group);

        if (o)
                text = json_dumps(o, JSON_INDENT(1));
        if (!path || !text)
                return -ENOMEM;
        return file_write_atomic_for(path, text, strlen(text), &(struct file_access){0640, (gid_t)gid});
}

void status_tell_refused(struct runtime *rt)
{
        struct report_state s = {0};

        report_get_state(rt->report, &s);
        if (s.refused && !rt->told_refused)
                log_line(LOG_ERR, "records cannot be written to '%s/spool': is the disk full or read-only?",
                         rt->config->state);
        rt->told_refused = s.refused > 0;
}

static int on_status(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct runtime *rt = userdata;
        int r;

        status_tell_refused(rt);
        r = status_write(rt);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot write '%s/status.json', ignoring", rt->config->runtime);
        return 0;
}

void status_dirty(struct runtime *rt)
{
        int enabled = SD_EVENT_OFF, r;

        if (!rt->on_status) {
                r = sd_event_add_time_relative(rt->event, &rt->on_status, CLOCK_MONOTONIC, STATUS_DELAY_US,
                                               STATUS_DELAY_US / 5, on_status, rt);
                if (r < 0)
                        log_errno(LOG_WARNING, r, "cannot schedule status.json, ignoring");
                else
                        sd_event_source_set_priority(rt->on_status, PRIORITY_TELEMETRY);
                return;
        }
        sd_event_source_get_enabled(rt->on_status, &enabled);
        if (enabled != SD_EVENT_OFF)
                return;
        sd_event_source_set_time_relative(rt->on_status, STATUS_DELAY_US);
        sd_event_source_set_enabled(rt->on_status, SD_EVENT_ONESHOT);
}
