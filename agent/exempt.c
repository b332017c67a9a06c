/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Exemptions and break-glass tokens at work: they come and go by both clocks, the rule set follows, and each of
 * their steps is recorded. */
#include "agent/runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

#define USEC_PER_SEC    1000000ull
#define REFUSED_EVERY_S (REFUSED_ROOM_S / 6)
#define FAILED_PAUSE    60 /* seconds before what could not be applied is tried again */

static struct term_clock clock_now(const struct runtime *rt)
{
        return (struct term_clock){.now = store_time(rt->store, time(NULL)),
                                   .boottime_s = clock_boottime_ms() / 1000 + 1};
}

/* A break-glass token is for when the collector is out of reach; whether it was is for auditors to see. */
static void describe_contact(const struct runtime *rt, char buf[static 128])
{
        char reached[TIME_TEXT_MAX];
        struct contact c;

        status_contact(rt, &c);
        if (!c.reached)
                snprintf(buf, 128, "; the collector was never reached");
        else
                snprintf(buf, 128, "; the collector was reached last at %s%s", time_format(c.reached, reached),
                         *c.failing ? " and is not now" : "");
}

/* "exemption EX-7 began, until 2026-12-24T18:00:00Z: CHG-4711, approved by Dora Chief" */
static void on_event(enum exemptions_event event, const struct held *h, void *userdata)
{
        static const char *const words[] = {
                [EXEMPTIONS_BEGAN] = "began", [EXEMPTIONS_ENDED] = "ended", [EXEMPTIONS_REVOKED] = "was revoked"};
        const struct exemption *e = h->exemption;
        const bool glass = e->kind == EXEMPTION_BREAK_GLASS;
        struct runtime *rt = userdata;
        char until[TIME_TEXT_MAX], contact[128] = "", line[640];

        if (glass && event == EXEMPTIONS_BEGAN)
                describe_contact(rt, contact);
        snprintf(line, sizeof(line), "%s %s %s, until %s: %s, approved by %s, signed by %s%s",
                 exemption_kind_to_string(e->kind), e->id, words[event], time_format(e->until, until), e->reason,
                 e->approver, h->signer, contact);
        log_line(glass ? LOG_WARNING : LOG_NOTICE, "%s %s %s, until %s", exemption_kind_to_string(e->kind), e->id,
                 words[event], time_format(e->until, until));
        if (glass && event == EXEMPTIONS_BEGAN && report_glass(rt->report, e->id, line) < 0)
                log_line(LOG_ERR, "cannot record the use of a break-glass token");
        if (rt->n_exempt_news < EXEMPT_NEWS_MAX) {
                struct exempt_news *n = &rt->exempt_news[rt->n_exempt_news++];

                n->event = glass ? COVERAGE_BREAK_GLASS : COVERAGE_EXEMPTION;
                snprintf(n->text, sizeof(n->text), "%s", line);
        }
}

/* Coverage says what holds, so it is written after the rule set has changed. */
static void tell_news(struct runtime *rt)
{
        for (size_t i = 0; i < rt->n_exempt_news; i++)
                health_coverage(rt, rt->exempt_news[i].event, 0, rt->exempt_news[i].text);
        rt->n_exempt_news = 0;
}

static void save(struct runtime *rt)
{
        int r = exemptions_save(rt->exemptions);

        if (r < 0)
                log_errno(LOG_ERR, r, "cannot write '%s/exemptions/ledger'", rt->config->state);
}

static void schedule(struct runtime *rt);

/* After something came, went or may have: bring the rule set in line. */
static void settle(struct runtime *rt, bool changed)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        const struct term_clock c = clock_now(rt);
        struct diag d = {0};
        int r = 0;

        changed |= exemptions_update(rt->exemptions, &c);
        if (changed && rt->current) {
                r = runtime_apply(rt, rt->store->policy, rt->store->catalogue, &d);
                if (r < 0)
                        log_errno(LOG_ERR, r, "cannot apply exemptions: %s",
                                  diag_format_log(&d, where, sizeof(where)));
                else
                        reload_applied(rt, "exemptions");
                tell_news(rt);
        }
        save(rt);
        schedule(rt);
        status_dirty(rt);
}

static int on_time(sd_event_source *s, uint64_t usec, void *userdata)
{
        settle(userdata, false);
        return 0;
}

/* CLOCK_REALTIME's timer also goes off when the clock is set over it. */
static void schedule(struct runtime *rt)
{
        const time_t now = time(NULL);
        uint64_t in_s;
        time_t at;
        int r = 0;

        rt->on_term_boot = sd_event_source_disable_unref(rt->on_term_boot);
        rt->on_term_wall = sd_event_source_disable_unref(rt->on_term_wall);
        exemptions_next(rt->exemptions, &in_s, &at);
        if (in_s)
                r = sd_event_add_time_relative(rt->event, &rt->on_term_boot, CLOCK_BOOTTIME, in_s * USEC_PER_SEC,
                                               USEC_PER_SEC / 4, on_time, rt);
        if (r >= 0 && at)
                r = sd_event_add_time(rt->event, &rt->on_term_wall, CLOCK_REALTIME,
                                      (uint64_t)(at > now ? at : now + FAILED_PAUSE) * USEC_PER_SEC, USEC_PER_SEC / 4,
                                      on_time, rt);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot wait for the end of exemptions");
}

static void on_refused(const struct diag *d, void *userdata)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16], line[sizeof(where) + 64];
        struct runtime *rt = userdata;
        struct refusal *last = NULL;
        struct diag nameless = *d;

        for (size_t i = 0; i < EXEMPT_REFUSED_MAX; i++)
                if (!strcmp(rt->exempt_refused[i].diag.file, d->file) &&
                    !strcmp(rt->exempt_refused[i].diag.text, d->text))
                        last = &rt->exempt_refused[i];
        if (last) {
                last->when = time(NULL);
                last->times++;
                return;
        }
        last = &rt->exempt_refused[rt->n_exempt_refused++ % EXEMPT_REFUSED_MAX];
        *last = (struct refusal){.diag = *d, .hash = "-", .when = time(NULL), .times = 1};
        *nameless.file = '\0'; /* files are named after people */
        snprintf(line, sizeof(line), "exemption refused: %s", diag_format_log(&nameless, where, sizeof(where)));
        log_line(LOG_ERR, "%s", line);
        health_coverage(rt, COVERAGE_REFUSED, 0, line);
}

static void take_incoming(struct runtime *rt)
{
        _cleanup_free_ char *folder = format_new("%s/incoming/exemptions", rt->config->state);
        const struct term_clock c = clock_now(rt);
        struct trust_ring ring;

        keyring_now(&rt->store->keyring, &ring);
        if (folder)
                exemptions_take_folder(rt->exemptions, folder, &ring, &c, on_refused);
}

void exempt_look(struct runtime *rt)
{
        take_incoming(rt);
        settle(rt, rt->n_exempt_news > 0);
}

static int on_incoming(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        struct runtime *rt = userdata;

        if (!(e->mask & IN_Q_OVERFLOW) && (!e->len || !text_ends_with(e->name, ".ini")))
                return 0;
        exempt_look(rt);
        return 0;
}

int exempt_take(struct runtime *rt, const struct trust_file *f, struct diag *reterr)
{
        const struct term_clock c = clock_now(rt);
        struct trust_ring ring;
        int r;

        keyring_now(&rt->store->keyring, &ring);
        r = exemptions_take(rt->exemptions, &ring, f, &c, reterr);
        if (r >= 0)
                settle(rt, rt->n_exempt_news > 0);
        else if (r != -EALREADY && r != -ENODEV && rate_has_room(&rt->refused_rate, clock_boottime_ms() / 1000)) {
                rate_take(&rt->refused_rate, REFUSED_EVERY_S);
                on_refused(reterr, rt);
        }
        return r;
}

void exempt_policy_changed(struct runtime *rt)
{
        const struct stored *p = rt->store->policy;
        const struct term_clock c = clock_now(rt);
        struct trust_ring ring;

        keyring_now(&rt->store->keyring, &ring);
        exemptions_recheck(rt->exemptions, &ring, &c);
        for (char **id = p ? p->policy->trust.revoke_exemptions : NULL; id && *id; id++)
                exemptions_revoke(rt->exemptions, *id, &c);
        take_incoming(rt); /* a new key may have come */
        settle(rt, rt->n_exempt_news > 0);
}

static int open_exemptions(struct runtime *rt)
{
        struct report_state s = {0};
        struct exemptions_options o = {
                .state_dir = rt->config->state, .device_name = rt->config->device, .boot_id = rt->lastrun.boot_id};
        _cleanup_free_ char *path = format_new("%s/exemptions/ledger", rt->config->state);
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        report_get_state(rt->report, &s);
        o.device_id = s.device_id;
        r = exemptions_new(&o, &rt->exemptions, &d);
        if (r >= 0 || !path)
                return r;
        /* only the agent writes it */
        log_errno(LOG_ERR, r, "it begins anew, for it is damaged: %s", diag_format_log(&d, where, sizeof(where)));
        report_tamper(rt->report, "the ledger of exemptions was damaged", OUTCOME_PASSED);
        unlink(path);
        return exemptions_new(&o, &rt->exemptions, &d);
}

int exempt_start(struct runtime *rt)
{
        const struct term_clock c = clock_now(rt);
        struct trust_ring ring;
        int r;

        r = open_exemptions(rt);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot read exemptions");
        keyring_now(&rt->store->keyring, &ring);
        exemptions_load(rt->exemptions, &ring, &c);
        rt->exemptions->handler = on_event;
        rt->exemptions->userdata = rt;
        exemptions_update(rt->exemptions, &c);
        return 0;
}

int exempt_watch(struct runtime *rt)
{
        _cleanup_free_ char *folder = format_new("%s/incoming/exemptions", rt->config->state);

        if (!folder)
                return -ENOMEM;
        guard_watch_incoming(rt, folder, on_incoming);
        tell_news(rt);
        exempt_look(rt);
        return 0;
}

void exempt_tick(struct runtime *rt)
{
        settle(rt, false);
}

/* ---- for the compiler and for people ---- */

struct rules_grant *exempt_grants(const struct exemptions *x, size_t *ret_n)
{
        struct rules_grant *list = calloc(x->n + 1, sizeof(*list));
        size_t n = 0;

        for (size_t i = 0; list && i < x->n; i++) {
                const struct exemption *e = x->list[i].exemption;

                if (e->kind == EXEMPTION_GRANT && held_is_in_force(&x->list[i]))
                        list[n++] = (struct rules_grant){e->id, e->channels, e->users, e->unixgroups};
        }
        *ret_n = n;
        return list;
}

static json_t *list_json(char *const *list)
{
        json_t *a = json_array();

        for (; list && *list; list++)
                json_array_append_new(a, json_string(*list));
        return a;
}

static json_t *held_json(const struct held *h)
{
        const struct exemption *e = h->exemption;
        char from[TIME_TEXT_MAX], until[TIME_TEXT_MAX];

        return json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:s,s:s,s:I,s:s,s:s,s:s}", "id", e->id, "kind",
                         exemption_kind_to_string(e->kind), "state", term_state_to_string(h->entry->term.state),
                         "channels", list_json(e->channels), "users", list_json(e->users), "unixgroups",
                         list_json(e->unixgroups), "from", time_format(e->from, from), "until",
                         time_format(e->until, until), "left", (json_int_t)h->entry->term.left_s, "reason", e->reason,
                         "approver", e->approver, "signer", h->signer);
}

json_t *exempt_json(struct runtime *rt)
{
        const struct term_clock c = clock_now(rt);
        json_t *list = json_array();

        for (size_t i = 0; i < rt->exemptions->n; i++) {
                struct held h = rt->exemptions->list[i];
                struct ledger_entry e = *h.entry; /* how much is left now */

                term_update(&e.term, &c);
                h.entry = &e;
                json_array_append_new(list, held_json(&h));
        }
        return list;
}
