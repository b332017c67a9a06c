/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/browser/document.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

#define CHROMIUM_PREDICT_NEVER 2 /* NetworkPredictionOptions */

struct targets {
        struct browser_target *list;
        size_t n;
};

static void targets_done(struct targets *t)
{
        free(t->list);
}

/* Chromium's URL filter format: a host stands for all names below it, ".host" for itself alone. */
static json_t *chromium_pattern(const struct browser_target *t)
{
        return json_sprintf("%s%s", t->exact ? "." : "", t->value);
}

/* Match patterns of WebExtensions, as Firefox's WebsiteFilter takes them. */
static json_t *firefox_pattern(const struct browser_target *t)
{
        const char *path = t->value + t->host_size;

        return json_sprintf("*://%s%.*s%s*", t->exact ? "" : "*.", (int)t->host_size, t->value, *path ? path : "/");
}

static bool list_has(const json_t *list, const json_t *value)
{
        const json_t *v;
        size_t i;

        json_array_foreach(list, i, v) if (json_equal(v, value)) return true;
        return false;
}

/* Theirs first, then ours as far as there is room; a new list. */
static json_t *joined_list(const json_t *theirs, const struct targets *t,
                           json_t *(*pattern)(const struct browser_target *), struct browser_output *o)
{
        json_t *list = json_is_array(theirs) ? json_copy((json_t *)theirs) : json_array();
        size_t n_theirs = json_array_size(list);

        for (size_t i = 0; list && i < t->n; i++) {
                json_auto_t *p = pattern(&t->list[i]);
                bool known = false;

                for (size_t k = 0; k < n_theirs && !known; k++)
                        known = json_equal(json_array_get(list, k), p);
                if (known || json_array_size(list) < BROWSER_PATTERNS_MAX) {
                        o->patterns++;
                        if (!known)
                                json_array_append(list, p);
                } else {
                        o->left_out++;
                }
        }
        return list;
}

static bool is_dns_blocked(const struct ruleset *rs)
{
        for (uint16_t i = 1; i < rs->n_channels; i++)
                if (rs->channels[i].category == CATEGORY_ENCRYPTED_DNS && browser_blocks(rs, i))
                        return true;
        return false;
}

static bool is_anything_blocked(const struct ruleset *rs)
{
        for (uint16_t i = 1; i < rs->n_channels; i++)
                if (browser_blocks(rs, i))
                        return true;
        return false;
}

/* Web apps' ids are those of extensions. */
static json_t *blocked_apps(const struct ruleset *rs, const json_t *theirs)
{
        json_t *list = json_is_array(theirs) ? json_copy((json_t *)theirs) : json_array();

        for (size_t i = 1; i < rs->n_entries; i++) {
                const struct rule_entry *e = &rs->entries[i];
                json_auto_t *id = NULL;

                if (e->kind != ENTRY_WEB_PWA || !browser_blocks(rs, e->channel))
                        continue;
                id = json_string(e->value);
                if (!list_has(list, id))
                        json_array_append(list, id);
        }
        return list;
}

int browser_chromium(const struct browser_input *in, struct browser_output *ret)
{
        _cleanup_(targets_done) struct targets t = {0};
        struct browser_output o = {0};
        json_auto_t *d = NULL, *urls = NULL, *apps = NULL;
        int r;

        if (!is_anything_blocked(in->rules)) {
                *ret = o;
                return 0;
        }
        d = json_object();
        r = d ? browser_targets(in->rules, &t.list, &t.n) : -ENOMEM;
        if (r < 0)
                return r;
        if (!in->keep_lists) {
                urls = joined_list(json_object_get(in->theirs, "URLBlocklist"), &t, chromium_pattern, &o);
                apps = blocked_apps(in->rules, json_object_get(in->theirs, "ExtensionInstallBlocklist"));
                if (json_array_size(urls) > 0)
                        json_object_set(d, "URLBlocklist", urls);
                if (json_array_size(apps) > 0)
                        json_object_set(d, "ExtensionInstallBlocklist", apps);
        }
        if (is_dns_blocked(in->rules))
                json_object_set_new(d, "DnsOverHttpsMode", json_string("off"));
        json_object_set_new(d, "EncryptedClientHelloEnabled", json_false());
        /* whoever reads a page has not asked for what it links to */
        json_object_set_new(d, "NetworkPredictionOptions", json_integer(CHROMIUM_PREDICT_NEVER));
        if (in->rules->quic == QUIC_BLOCK)
                json_object_set_new(d, "QuicAllowed", json_false());
        o.document = json_incref(d);
        *ret = o;
        return 0;
}

/* The member as an object that may be changed, made when it is missing or something else. */
static json_t *member_object(json_t *o, const char *key)
{
        json_t *m = json_object_get(o, key);

        if (json_is_object(m))
                return m;
        m = json_object();
        json_object_set_new(o, key, m);
        return m;
}

static void lock_preference(json_t *policies, const char *name)
{
        json_object_set_new(member_object(policies, "Preferences"), name,
                            json_pack("{s:b,s:s}", "Value", 0, "Status", "locked"));
}

int browser_firefox(const struct browser_input *in, struct browser_output *ret)
{
        _cleanup_(targets_done) struct targets t = {0};
        struct browser_output o = {0};
        json_auto_t *d = NULL;
        json_t *policies, *filter;
        int r;

        if (!is_anything_blocked(in->rules)) {
                *ret = o;
                return 0;
        }
        d = json_deep_copy(in->theirs);
        r = d ? browser_targets(in->rules, &t.list, &t.n) : -ENOMEM;
        if (r < 0)
                return r;
        policies = member_object(d, "policies");
        filter = member_object(policies, "WebsiteFilter");
        json_object_set_new(filter, "Block", joined_list(json_object_get(filter, "Block"), &t, firefox_pattern, &o));
        if (is_dns_blocked(in->rules))
                json_object_set_new(policies, "DNSOverHTTPS", json_pack("{s:b,s:b}", "Enabled", 0, "Locked", 1));
        json_object_set_new(policies, "DisableEncryptedClientHello", json_true());
        json_object_set_new(policies, "NetworkPrediction", json_false());
        lock_preference(policies, "network.dns.echconfig.enabled");
        lock_preference(policies, "network.dns.http3_echconfig.enabled");
        if (in->rules->quic == QUIC_BLOCK)
                lock_preference(policies, "network.http.http3.enable");
        json_object_set_new(d, BROWSER_MARK,
                            json_string("Written by the onchannel agent from a signed policy. What an administrator "
                                        "sets here belongs into policies.json.administrator beside it."));
        o.document = json_incref(d);
        *ret = o;
        return 0;
}
