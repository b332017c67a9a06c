/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An administrator's browser policies, whatever is in them: a document with ours in it, which can be written and read back. */
#include <stdlib.h>
#include <string.h>
#include "agent/browser/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ruleset *rules(void)
{
        static const char chat[] =
                "[channel]\nid = chat\nname = c\ncategory = messenger\nhomepage = https://c.example\nsource = "
                "https://c.example\nchecked = 2026-11-21\n[names]\nsuffix = c.example\n";
        static const char all[] =
                "[policy]\nformat = 1\norganisation = o\nserial = 1\nnot_before = 2020-01-01T00:00:00Z\nexpires = "
                "2099-01-01T00:00:00Z\nmode = enforce\nunlisted = block\nbypass = block\nquic = block\nprograms = "
                "block\nnotice = n\n";
        const struct catalogue_source source = {"chat.ini", chat, sizeof(chat) - 1};
        struct rules_input in = {.device = "d", .policy_file = "p", .now = 1800000000};
        static struct catalogue *c; /* the rule set points into them */
        static struct policy *p;
        struct ruleset *r;

        if (catalogue_parse_files(&source, 1, &c, NULL) < 0 ||
            policy_parse(all, sizeof(all) - 1, "p", &p, NULL) < 0 || !(in.catalogue = c) || !(in.policy = p) ||
            rules_compile(&in, &r, NULL) < 0)
                abort();
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct ruleset *r;
        json_auto_t *theirs = json_loadb((const char *)data, size, 0, NULL);
        const struct browser_input in = {.rules = r ?: (r = rules()), .theirs = theirs, .keep_lists = size & 1};
        struct browser_output o[2] = {0};

        if (!json_is_object(theirs))
                return 0;
        if (browser_chromium(&in, &o[0]) < 0 || browser_firefox(&in, &o[1]) < 0 ||
            !json_object_get(o[1].document, BROWSER_MARK))
                abort();
        for (int i = 0; i < 2; i++) {
                char *text = json_dumps(o[i].document, 0);
                json_t *again = text ? json_loads(text, 0, NULL) : NULL;

                if (!again || !json_equal(again, o[i].document))
                        abort();
                json_decref(again);
                json_decref(o[i].document);
                free(text);
        }
        return 0;
}
