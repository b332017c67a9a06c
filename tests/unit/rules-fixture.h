/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* A catalogue of three channels, and policies over it. */
#include "base/cleanup.h"
#include "base/text.h"
#include "rules/rules.h"

#define HEAD(id, category)                                                                                           \
        "[channel]\nid = " id "\nname = Name of " id "\ncategory = " category "\n"                                   \
        "homepage = https://example.com\nchecked = 2026-11-21\nsource = https://example.com/list\n"
#define SOURCE(file, text)                                                                                           \
        {                                                                                                            \
                file, text, sizeof(text) - 1                                                                         \
        }

/* Numbers: chat 1, dns 2, work 3. */
static const struct catalogue_source sources[] = {
        SOURCE("chat.ini",
               HEAD("chat", "messenger") "[names]\nsuffix = chat.example\nexact = edge.shared.example\nsuffix = "
                                         "www.shared.example\n"
                                         "[addresses]\nprefix = 91.108.4.0/22\nprefix = 2001:db8::/32\n"
                                         "[programs]\nname = chatter\npath = /opt/chat/chat-beta\npath = "
                                         "/opt/*/chat*\nargv = --app=https://chat.example/*\n"
                                         "flatpak = org.chat.App\nsnap = chatsnap\npackage = chat-desktop\n"
                                         "[web]\npwa = hnpfjngllnobngcgfapefoaidbinmjnm\n[ports]\ntcp = 5222\n"),
        SOURCE("dns.ini", HEAD("dns", "encrypted-dns") "[names]\nsuffix = dns.example\n"),
        SOURCE("work.ini", HEAD("work", "workplace") "[names]\nsuffix = work.chat.example\nexact = "
                                                     "www.shared.example.com\nexcept = "
                                                     "tag.work.chat.example\n[addresses]\nprefix = 91.108.5.0/24\n"
                                                     "[programs]\nname = worker\nflatpak = org.work.App\n"),
};
enum { CHAT = 1, DNS, WORK };

#define POLICY(mode, rest)                                                                                           \
        "[policy]\nformat = 1\norganisation = Example\nserial = 42\nnot_before = 2026-01-01T00:00:00Z\n"             \
        "expires = 2027-01-01T00:00:00Z\nmode = " mode "\nunlisted = block\nbypass = watch\n"                        \
        "quic = block\nprograms = watch\nnotice = No.\n" rest
#define TOP_LINES 12

static const struct rules_user users[] = {{"anna", 1000}, {"bob", 999}, {"anna2", 1000}};

static struct catalogue *catalogue;
static struct policy *policy; /* of the case at hand */

static int setup(void **state)
{
        return catalogue_parse_files(sources, ELEMENTSOF(sources), &catalogue, NULL);
}

static int teardown(void **state)
{
        catalogue = catalogue_free(catalogue);
        policy = policy_free(policy);
        return 0;
}

static struct rules_input input_of(const char *text, const char *now)
{
        struct rules_input in = {.catalogue = catalogue,
                                 .policy_file = "policy.ini",
                                 .device = "ws-0301",
                                 .users = users,
                                 .n_users = ELEMENTSOF(users)};
        struct diag d = {};

        policy = policy_free(policy);
        if (text && policy_parse(text, strlen(text), "policy.ini", &policy, &d) < 0)
                fail_msg("line %u: %s", d.line, d.text);
        in.policy = policy;
        assert_int_equal(time_parse(now, &in.now), 0);
        return in;
}

static inline struct ruleset *compile(const char *text, const char *now)
{
        struct rules_input in = input_of(text, now);
        struct ruleset *r = NULL;
        struct diag d = {};

        if (rules_compile(&in, &r, &d) < 0)
                fail_msg("line %u: %s", d.line, d.text);
        return r;
}

#define NOW   "2026-11-21T12:00:00Z"
#define UNTIL "2026-12-31T00:00:00Z"
