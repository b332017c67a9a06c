/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The description of the policy's keys, for people and for editors. */
#include <string.h>

#include "cli/authoring.h"
#include "policy/keys.h"

static const char usage[] = "Usage: onchannel policy keys [--json]\n"
                            "Every key of a policy: section, type, default, meaning, example.\n";

static json_t *key_json(const struct policy_key *k)
{
        json_t *values = k->choice ? json_array() : NULL;

        for (unsigned i = 0; k->choice && i < k->choice->n; i++)
                json_array_append_new(values, json_string(k->choice->words[i]));
        return json_pack("{s:s,s:s,s:s,s:b,s:b,s:s?,s:o?,s:s,s:s}", "section", policy_section_to_string(k->section),
                         "key", k->name, "type", policy_type_to_string(k->type), "required",
                         !!(k->flags & POLICY_KEY_REQUIRED), "repeated", !!(k->flags & POLICY_KEY_REPEATED),
                         "default", k->standard, "values", values, "meaning", k->meaning, "example", k->example);
}

static int print_keys_json(void)
{
        json_t *list = json_array();

        for (const struct policy_key *k = policy_keys; k->name; k++)
                json_array_append_new(list, key_json(k));
        return print_json(json_pack("{s:b,s:i,s:o}", "ok", 1, "format", POLICY_FORMAT, "keys", list));
}

static void print_key(const struct policy_key *k)
{
        char words[POLICY_VALUE_MAX];

        printf("%s  (%s", k->name,
               k->choice ? policy_choice_format(k->choice, words) : policy_type_to_string(k->type));
        if (k->flags & POLICY_KEY_REQUIRED)
                fputs(", required", stdout);
        if (k->flags & POLICY_KEY_REPEATED)
                fputs(", may be repeated", stdout);
        if (k->standard)
                printf(", default %s", k->standard);
        printf(")\n    %s\n    Example: %s = %s\n", k->meaning, k->name, k->example);
}

int command_policy_keys(struct cli *c, int argc, char **argv)
{
        int r;

        c->usage = usage;
        r = cli_options(c, NULL, &argc, &argv);
        if (r < 0 || argc != 0)
                return cli_usage(c, r);
        if (c->json)
                return print_keys_json();
        for (const struct policy_key *k = policy_keys; k->name; k++) {
                if (k == policy_keys || k->section != k[-1].section)
                        printf("%s%s\n", k == policy_keys ? "" : "\n", policy_section_to_string(k->section));
                print_key(k);
        }
        return STATUS_OK;
}
