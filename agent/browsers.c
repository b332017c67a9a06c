/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The browsers' managed folders follow the rule set in force, and whoever changes them is noticed. */
#include "agent/runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/cleanup.h"
#include "base/log.h"

#define TAMPER_EVERY_US 60000000ull
#define SETTLE_US       100000
#define WATCHED                                                                                                      \
        (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |      \
         IN_ONLYDIR)

static int on_settled(sd_event_source *s, uint64_t usec, void *userdata)
{
        browsers_apply(userdata);
        return 0;
}

/* Editors write a file beside the other and rename it: look when they are done. */
static void check_soon(struct runtime *rt)
{
        int enabled = SD_EVENT_OFF, r = 0;

        if (rt->on_browsers_settled)
                r = sd_event_source_get_enabled(rt->on_browsers_settled, &enabled);
        else
                r = sd_event_add_time_relative(rt->event, &rt->on_browsers_settled, CLOCK_MONOTONIC, SETTLE_US, 0,
                                               on_settled, rt);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot schedule a look at the browsers' policies");
        if (r < 0 || enabled != SD_EVENT_OFF)
                return;
        sd_event_source_set_time_relative(rt->on_browsers_settled, SETTLE_US);
        sd_event_source_set_enabled(rt->on_browsers_settled, SD_EVENT_ONESHOT);
}

static int on_folder(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        struct runtime *rt = userdata;

        if (e->mask & (IN_IGNORED | IN_MOVE_SELF)) /* another folder may have the name next */
                for (size_t i = 0; i < browser_folders(); i++)
                        if (rt->on_browser[i] == s)
                                rt->on_browser[i] = sd_event_source_disable_unref(s);
        check_soon(rt);
        return 0;
}

/* Folders come into being with the first file. */
static void watch_folders(struct runtime *rt)
{
        for (size_t i = 0; i < browser_folders(); i++) {
                const char *folder = browser_folder(rt->browser, i);
                int r;

                if (rt->on_browser[i])
                        continue;
                r = sd_event_add_inotify(rt->event, &rt->on_browser[i], folder, WATCHED, on_folder, rt);
                if (r < 0 && r != -ENOENT)
                        log_errno(LOG_WARNING, r, "cannot watch '%s', ignoring", folder);
                if (r < 0)
                        continue;
                sd_event_source_set_priority(rt->on_browser[i], PRIORITY_CONTROL);
        }
}

static void notice_tampering(struct runtime *rt, const struct browser_state *s)
{
        char what[sizeof(s->tampered) + 64];
        uint64_t now;
        int r;

        rt->counters.browsers_restored++;
        snprintf(what, sizeof(what), "somebody changed %s; it was %s", s->tampered,
                 *s->problem ? "not possible to restore all of it" : "restored");
        log_line(LOG_WARNING, "%s", what);
        sd_event_now(rt->event, CLOCK_MONOTONIC, &now);
        if (rt->browser_tamper_us && now - rt->browser_tamper_us < TAMPER_EVERY_US)
                return; /* the count in status goes on */
        rt->browser_tamper_us = now;
        r = report_tamper_at(rt->report, LAYER_BROWSER, what, *s->problem ? OUTCOME_PASSED : OUTCOME_DENIED);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot record tampering");
}

void browsers_apply(struct runtime *rt)
{
        struct browser_state s;

        if (!rt->browser || !rt->current)
                return;
        browser_apply(rt->browser, rt->current, &s);
        watch_folders(rt);
        if (*s.tampered)
                notice_tampering(rt, &s);
        if (*s.problem && strcmp(s.problem, rt->browsers.problem))
                log_line(LOG_WARNING, "browser policy: %s", s.problem);
        if (memcmp(&s, &rt->browsers, sizeof(s)))
                status_dirty(rt);
        rt->browsers = s;
}

const char *browsers_describe(const struct runtime *rt, char buf[static BROWSERS_TEXT_MAX])
{
        const struct browser_state *s = &rt->browsers;

        if (!rt->browser)
                return "off";
        snprintf(buf, BROWSERS_TEXT_MAX, "files=%zu patterns=%zu%s%s", s->files, s->patterns,
                 *s->problem ? " problem: " : "", s->problem);
        return buf;
}

json_t *browsers_json(const struct runtime *rt)
{
        const struct browser_state *s = &rt->browsers;

        return json_pack("{s:b,s:I,s:I,s:I,s:I,s:o}", "managed", rt->browser != NULL, "files", (json_int_t)s->files,
                         "patterns", (json_int_t)s->patterns, "left_out", (json_int_t)s->left_out, "restored",
                         (json_int_t)rt->counters.browsers_restored, "problem",
                         *s->problem ? json_string(s->problem) : json_null());
}

/* What an agent that managed them left behind goes when this one does not. */
int browsers_start(struct runtime *rt)
{
        int r = rt->config->browser_manage ? browser_new(rt->config->browser_root, &rt->browser)
                                           : browsers_remove(rt->config);

        return r < 0 ? log_errno(LOG_ERR, r, "cannot set the browsers' policies up") : 0;
}

void browsers_end(struct runtime *rt)
{
        for (size_t i = 0; i < BROWSER_FOLDERS_MAX; i++)
                rt->on_browser[i] = sd_event_source_disable_unref(rt->on_browser[i]);
        rt->on_browsers_settled = sd_event_source_disable_unref(rt->on_browsers_settled);
        rt->browser = browser_free(rt->browser);
        if (rt->release)
                browsers_remove(rt->config);
}

int browsers_remove(const struct config *c)
{
        struct browser_state s;
        struct browser *b = NULL;
        int r;

        r = browser_new(c->browser_root, &b);
        if (r < 0)
                return r;
        browser_apply(b, NULL, &s);
        browser_free(b);
        if (*s.problem)
                log_line(LOG_ERR, "browser policy: %s", s.problem);
        return *s.problem ? -EIO : 0;
}
