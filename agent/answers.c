/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/runtime.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <string.h>

#include "agent/mydata.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "policy/exemption.h"

#define REQUEST_EVERY_S 10 /* of one person */
#define LOG_EVERY_MS    (LOG_ROOM_MS / 20)

static int user_of(const struct control_request *q, uid_t caller, uid_t *ret)
{
        const struct passwd *pw;

        *ret = caller;
        if (!*q->user)
                return 0;
        pw = getpwnam(q->user);
        if (!pw)
                return -ENOENT;
        *ret = pw->pw_uid;
        return 0;
}

/* By its id, or by the name that people know; 0 none. */
static uint16_t find_channel(const struct ruleset *rs, const char *text)
{
        for (uint16_t i = 1; i < rs->n_channels; i++)
                if (i != rs->canary && (!strcmp(rs->channels[i].id, text) || !strcasecmp(rs->channels[i].name, text)))
                        return i;
        return 0;
}

static json_t *why_new(const struct ruleset *rs, uint16_t channel, uid_t uid)
{
        const struct rule_channel *c = &rs->channels[channel];
        const struct rule_exemption *own = rules_find_exemption(rs, channel, uid);
        unsigned line = own ? own->decided_line : c->decided_line;
        const char *exemption = rules_exempted_by(rs, channel, uid);
        char section[sizeof("[channel ]") + CHANNEL_ID_MAX + EXEMPTION_ID_MAX];

        if (exemption && !line) /* not the policy's own */
                snprintf(section, sizeof(section), "exemption %s", exemption);
        else
                snprintf(section, sizeof(section), own ? "[channel %s]" : "%s", own ? c->id : c->decided_by);

        return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:o*}", "channel", c->id, "name", c->name, "category",
                         category_to_string(c->category), "class", violation_class_to_string(c->class), "verdict",
                         verdict_to_string(rules_verdict(rs, channel, uid)), "programs",
                         verdict_to_string(own ? own->programs : c->programs), "file", c->file, "decided_by", section,
                         "decided_line", (json_int_t)line, "help", rs->help ? json_string(rs->help) : NULL);
}

static json_t *answer_why(struct runtime *rt, const struct control_request *q, uid_t caller, char *error)
{
        const struct ruleset *rs = rt->current;
        json_t *o;
        uint32_t entry;
        uint16_t channel;
        uid_t uid;

        if (user_of(q, caller, &uid) < 0) {
                snprintf(error, CONTROL_ERROR_MAX, "no such user");
                return NULL;
        }
        entry = rules_match_subject(rs, q->subject);
        if (!entry)
                entry = identify_content(rt->identify, &q->file);
        channel = entry ? rs->entries[entry].channel : find_channel(rs, q->subject);
        if (!channel)
                o = json_pack("{s:n,s:s}", "channel", "verdict", "allow");
        else
                o = why_new(rs, channel, uid);
        if (!o)
                return NULL;
        json_object_set_new(o, "subject", json_string(q->subject));
        if (entry) {
                json_auto_t *whole = json_sprintf("%s %s", entry_kind_to_string(rs->entries[entry].kind),
                                                  rs->entries[entry].value);

                json_object_set(o, "entry", whole);
                json_object_set_new(o, "line", json_integer(rs->entries[entry].line));
        }
        return o;
}

static json_t *answer_reload(struct runtime *rt, char *error)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        r = reload_all(rt, &d);
        if (r >= 0)
                return status_new(rt);
        snprintf(error, CONTROL_ERROR_MAX, "%s", *d.text ? diag_format(&d, where, sizeof(where)) : strerror(-r));
        log_errno(LOG_ERR, r, "reload failed: %s", diag_format_log(&d, where, sizeof(where)));
        return NULL;
}

/* Whoever brings it: the signature is what counts. */
static json_t *answer_exemption(struct runtime *rt, const struct control_request *q, char *error)
{
        const struct trust_file f = {"exemption", q->text, strlen(q->text), q->minisig, strlen(q->minisig)};
        struct diag d = {0};
        int r;

        r = exempt_take(rt, &f, &d);
        if (r < 0 && r != -EALREADY) {
                snprintf(error, CONTROL_ERROR_MAX, "%.*s", CONTROL_ERROR_MAX - 1, *d.text ? d.text : strerror(-r));
                return NULL;
        }
        return json_pack("{s:o}", "exemptions", exempt_json(rt));
}

/* Each person a few an hour, so that nobody fills the record. */
static bool may_request(struct runtime *rt, uid_t uid)
{
        const uint64_t now = clock_boottime_ms() / 1000 + 1;

        for (size_t i = 0; i < REQUESTS_MAX; i++) {
                struct request_seen *s = &rt->requests[i];

                if (s->at && s->uid == uid && now - s->at < REQUEST_EVERY_S)
                        return false;
        }
        rt->requests[rt->n_requests++ % REQUESTS_MAX] = (struct request_seen){.uid = uid, .at = now};
        return true;
}

static json_t *answer_request(struct runtime *rt, const struct control_request *q, uid_t uid, char *error)
{
        const uint16_t channel = find_channel(rt->current, q->subject);
        const struct rule_channel *c = &rt->current->channels[channel];
        struct access_request a = {.reason = q->reason, .hours = q->hours, .uid = uid};
        int r;

        if (!channel) {
                snprintf(error, CONTROL_ERROR_MAX, "there is no channel '%.64s'", q->subject);
                return NULL;
        }
        if (rules_verdict(rt->current, channel, uid) == VERDICT_ALLOW) {
                snprintf(error, CONTROL_ERROR_MAX, "%s is allowed already", c->name);
                return NULL;
        }
        if (!may_request(rt, uid)) {
                snprintf(error, CONTROL_ERROR_MAX, "asked less than %d s ago; wait a little", REQUEST_EVERY_S);
                return NULL;
        }
        a.channel = c->id;
        a.channel_name = c->name;
        r = report_request(rt->report, &a);
        if (r < 0) {
                snprintf(error, CONTROL_ERROR_MAX, "cannot record the request: %s", strerror(-r));
                return NULL;
        }
        log_line(LOG_NOTICE, "somebody asks for %s", c->id);
        status_dirty(rt);
        return json_pack("{s:s,s:s}", "channel", c->id, "name", c->name);
}

json_t *answer(const struct control_request *q, uid_t uid, char ret_error[static CONTROL_ERROR_MAX], void *userdata)
{
        struct runtime *rt = userdata;

        switch (q->verb) {
        case CONTROL_STATUS:
                return status_new(rt);
        case CONTROL_WHY:
                return answer_why(rt, q, uid, ret_error);
        case CONTROL_RELOAD:
                return answer_reload(rt, ret_error);
        case CONTROL_EXEMPTION:
                return answer_exemption(rt, q, ret_error);
        case CONTROL_REQUEST:
                return answer_request(rt, q, uid, ret_error);
        case CONTROL_NOTICES: /* control/ answers these itself */
        case CONTROL_MY_DATA:
        case _CONTROL_VERB_MAX:
                break;
        }
        return NULL;
}

int answer_my_data(int fd, uid_t uid, void *userdata)
{
        struct runtime *rt = userdata;
        _cleanup_free_ char *dir = format_new("%s/spool", rt->config->state);
        struct report_state s = {0};

        report_get_state(rt->report, &s);
        return dir ? mydata_write(fd, uid, dir, s.device_id) : -ENOMEM;
}

/* Whoever tries on and on fills no journal: each attempt is in the records. */
static void log_attempt(struct runtime *rt, const struct report_notice *n)
{
        const struct violation *v = n->violation;

        if (!rate_has_room(&rt->log_rate, clock_monotonic_ms())) {
                rt->unlogged++;
                return;
        }
        rate_take(&rt->log_rate, LOG_EVERY_MS);
        log_line(LOG_NOTICE, "%s %s: %s (%s, %s)", v->outcome == OUTCOME_PASSED ? "seen" : "stopped", n->channel,
                 outcome_to_string(v->outcome), layer_to_string(v->layer), tier_to_string(v->tier));
}

void answer_log_rest(struct runtime *rt)
{
        if (rt->unlogged > 0)
                log_line(LOG_NOTICE, "%" PRIu64 " more violations of late: the records have them", rt->unlogged);
        rt->unlogged = 0;
}

void answer_notice(const struct report_notice *n, void *userdata)
{
        const struct violation *v = n->violation;
        struct runtime *rt = userdata;
        char when[TIME_TEXT_MAX], program[FACT_PATH_MAX]; /* which may be called anything */
        json_auto_t *o = NULL;

        text_escape(n->program ? n->program : "", program, sizeof(program));
        log_attempt(rt, n);
        o = json_pack("{s:s,s:s,s:I,s:s,s:s,s:s?,s:s,s:s?,s:s,s:s,s:s}", "id", n->violation_id, "time",
                      time_format((time_t)(v->last_ms / 1000), when), "uid", (json_int_t)n->uid, "channel",
                      n->channel, "channel_name", n->channel_name, "program", n->program ? program : NULL, "text",
                      n->text ? n->text : "", "help", n->help, "outcome", outcome_to_string(v->outcome), "layer",
                      layer_to_string(v->layer), "class", v->class);
        if (!o || !rt->control || control_notice(rt->control, n->uid, o) < 0)
                log_line(LOG_WARNING, "cannot pass a notice on, ignoring");
}
