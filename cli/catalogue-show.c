/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `onchannel catalogue show` and `search`: reading a catalogue without an editor. */
#include <string.h>

#include "base/prefix.h"
#include "base/text.h"
#include "cli/authoring.h"
#include "cli/catalogue.h"

/* What an entry can prove, as a record names it; the last are for the browser and for people. */
enum evidence {
        EVIDENCE_PROGRAM,
        EVIDENCE_NAME,
        EVIDENCE_ADDRESS,
        EVIDENCE_WEB,
        EVIDENCE_PORT,
        _EVIDENCE_MAX,
};
static const char *const evidence_names[] = {"program", "name", "address", "web", "port"};
_Static_assert(ELEMENTSOF(evidence_names) == _EVIDENCE_MAX, "an evidence without a name");

static enum evidence evidence_of(enum entry_kind kind)
{
        switch (kind) {
        case ENTRY_SUFFIX:
        case ENTRY_EXACT:
        case ENTRY_EXCEPT:
        case ENTRY_PROBE:
                return EVIDENCE_NAME;
        case ENTRY_PREFIX:
                return EVIDENCE_ADDRESS;
        case ENTRY_WEB_URL:
        case ENTRY_WEB_PWA:
                return EVIDENCE_WEB;
        case ENTRY_PORT_TCP:
        case ENTRY_PORT_UDP:
                return EVIDENCE_PORT;
        case ENTRY_PROGRAM_NAME:
        case ENTRY_PROGRAM_PATH:
        case ENTRY_PROGRAM_ARGV:
        case ENTRY_FLATPAK:
        case ENTRY_SNAP:
        case ENTRY_PACKAGE:
        case ENTRY_BUILD_ID:
        case ENTRY_SHA256:
        case _ENTRY_KIND_MAX:
                return EVIDENCE_PROGRAM;
        }
        return EVIDENCE_PROGRAM;
}

json_t *entry_json(const struct entry *e)
{
        return json_pack("{s:s,s:s,s:I}", "kind", entry_kind_to_string(e->kind), "value", e->value, "line",
                         (json_int_t)e->line);
}

static json_t *channel_json(const struct channel *ch)
{
        char checked[TIME_TEXT_MAX];
        json_t *entries = json_array();

        time_format(ch->checked, checked);
        for (size_t i = 0; i < ch->n_entries; i++)
                json_array_append_new(entries, entry_json(&ch->entries[i]));
        return json_pack("{s:s,s:s,s:s?,s:s,s:s,s:s,s:s%,s:s,s:o}", "channel", ch->id, "name", ch->name, "vendor",
                         ch->vendor, "category", category_to_string(ch->category), "homepage", ch->homepage, "source",
                         ch->source, "checked", checked, (size_t)10, "file", ch->file, "entries", entries);
}

static void print_entry(const struct channel *ch, const struct entry *e)
{
        printf("  %s:%-4u %-9s %s\n", ch->file, e->line, entry_kind_to_string(e->kind), e->value);
}

static void print_head(const struct cli *c, const struct channel *ch)
{
        print_field(c, "channel", COLOUR_NONE, "%s (%s, %s)", ch->name, ch->id, category_to_string(ch->category));
}

static void print_channel(const struct cli *c, const struct channel *ch)
{
        char checked[TIME_TEXT_MAX];

        print_head(c, ch);
        print_field(c, "checked", COLOUR_NONE, "%.10s against %s", time_format(ch->checked, checked), ch->source);
        for (size_t i = 0; i < ch->n_entries; i++)
                print_entry(ch, &ch->entries[i]);
}

static int print_catalogue(const struct cli *c, const struct catalogue *all)
{
        json_t *list = c->json ? json_array() : NULL;

        for (size_t i = 0; i < all->n_channels; i++) {
                const struct channel *ch = &all->channels[i];

                if (list)
                        json_array_append_new(list, channel_json(ch));
                else
                        printf("%-24s %-16s %4zu entries  %s\n", ch->id, category_to_string(ch->category),
                               ch->n_entries, ch->name);
        }
        if (list)
                return print_json(json_pack("{s:b,s:s?,s:I,s:o}", "ok", 1, "version", all->version, "serial",
                                            (json_int_t)all->serial, "channels", list));
        return STATUS_OK;
}

/* ---- show --summary ---- */
struct row {
        size_t channels;
        size_t entries[_EVIDENCE_MAX];
};

static void count_channel(struct row *r, const struct channel *ch)
{
        r->channels++;
        for (size_t i = 0; i < ch->n_entries; i++)
                r->entries[evidence_of(ch->entries[i].kind)]++;
}

static json_t *row_json(const char *category, const struct row *r)
{
        json_t *o = json_pack("{s:s*,s:I}", "category", category, "channels", (json_int_t)r->channels);

        for (size_t i = 0; i < _EVIDENCE_MAX; i++)
                json_object_set_new(o, evidence_names[i], json_integer((json_int_t)r->entries[i]));
        return o;
}

static void print_row(const char *category, const struct row *r)
{
        printf("%-18s %8zu", category, r->channels);
        for (size_t i = 0; i < _EVIDENCE_MAX; i++)
                printf(" %8zu", r->entries[i]);
        putchar('\n');
}

static int print_summary(const struct cli *c, const struct catalogue *all)
{
        struct row rows[_CATEGORY_MAX] = {0}, total = {0};
        json_t *list = json_array();

        for (size_t i = 0; i < all->n_channels; i++) {
                count_channel(&rows[all->channels[i].category], &all->channels[i]);
                count_channel(&total, &all->channels[i]);
        }
        if (!c->json) {
                printf("%-18s %8s", "category", "channels");
                for (size_t i = 0; i < _EVIDENCE_MAX; i++)
                        printf(" %8s", evidence_names[i]);
                putchar('\n');
        }
        for (enum category k = 0; k < _CATEGORY_MAX; k++)
                if (c->json)
                        json_array_append_new(list, row_json(category_to_string(k), &rows[k]));
                else
                        print_row(category_to_string(k), &rows[k]);
        if (c->json)
                return print_json(json_pack("{s:b,s:s?,s:I,s:o,s:o}", "ok", 1, "version", all->version, "serial",
                                            (json_int_t)all->serial, "categories", list, "total",
                                            row_json(NULL, &total)));
        json_decref(list);
        print_row("total", &total);
        return STATUS_OK;
}

int catalogue_command_show(struct cli *c, int argc, char **argv)
{
        bool summary = false;
        const struct cli_option options[] = {{"summary", 0, NULL, &summary}, {0}};
        _cleanup_catalogue_ struct catalogue *catalogue = NULL;
        const struct channel *ch;
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc < 1 || argc > (summary ? 1 : 2))
                return cli_usage(c, r);
        r = catalogue_read(c, argv[0], &catalogue);
        if (r != STATUS_OK)
                return r;
        if (argc == 1)
                return summary ? print_summary(c, catalogue) : print_catalogue(c, catalogue);
        ch = catalogue_find(catalogue, argv[1]);
        if (!ch)
                return cli_fail(c, STATUS_FAILED, "no channel '%s' in '%s'", argv[1], argv[0]);
        if (c->json) {
                json_t *o = channel_json(ch);

                json_object_set_new(o, "ok", json_true());
                return print_json(o);
        }
        print_channel(c, ch);
        return STATUS_OK;
}

/* ---- search ---- */
struct query {
        const char *text;
        char name[DOMAIN_NAME_MAX + 1]; /* the text as a domain name, or "" */
        struct prefix prefix; /* the text as an address */
        bool is_prefix;
};

static bool entry_matches(const struct query *q, const struct entry *e)
{
        size_t n = strlen(q->name), m = strlen(e->value);

        if (strcasestr(e->value, q->text))
                return true;
        if (e->kind == ENTRY_PREFIX)
                return q->is_prefix && prefix_contains(&e->prefix, &q->prefix);
        return e->kind == ENTRY_SUFFIX && n > m && q->name[n - m - 1] == '.' && !strcmp(q->name + n - m, e->value);
}

static bool head_matches(const struct query *q, const struct channel *ch)
{
        return strcasestr(ch->id, q->text) || strcasestr(ch->name, q->text) ||
               (ch->vendor && strcasestr(ch->vendor, q->text)) ||
               !strcasecmp(category_to_string(ch->category), q->text);
}

/* The entries that match; an empty array when only the head does; NULL when nothing does. */
static json_t *matches_of(const struct query *q, const struct channel *ch)
{
        bool found = head_matches(q, ch);
        json_t *list = json_array();

        for (size_t i = 0; i < ch->n_entries; i++)
                if (entry_matches(q, &ch->entries[i]))
                        json_array_append_new(list, entry_json(&ch->entries[i]));
        if (!found && json_array_size(list) == 0) {
                json_decref(list);
                return NULL;
        }
        return list;
}

static void print_found(const struct cli *c, const struct channel *ch, const json_t *entries)
{
        const json_t *e;
        size_t i;

        print_head(c, ch);
        json_array_foreach(entries, i, e) printf("  %s:%-4lld %-9s %s\n", ch->file, (long long)json_number(e, "line"),
                                                 json_text(e, "kind"), json_text(e, "value"));
}

int catalogue_command_search(struct cli *c, int argc, char **argv)
{
        const char *path = CLI_CATALOGUE;
        const struct cli_option options[] = {{"catalogue", 0, &path, NULL}, {0}};
        _cleanup_catalogue_ struct catalogue *all = NULL;
        json_auto_t *found = json_array();
        struct query q = {0};
        int r;

        r = cli_options(c, options, &argc, &argv);
        if (r < 0 || argc != 1 || !*argv[0])
                return cli_usage(c, r);
        q.text = argv[0];
        if (domain_normalise(q.text, strlen(q.text), q.name) < 0)
                *q.name = 0;
        q.is_prefix = prefix_parse(q.text, &q.prefix) == 0;
        r = catalogue_read(c, path, &all);
        if (r != STATUS_OK)
                return r;
        for (size_t i = 0; i < all->n_channels; i++) {
                const struct channel *ch = &all->channels[i];
                json_t *entries = matches_of(&q, ch);

                if (entries && !c->json)
                        print_found(c, ch, entries);
                if (entries)
                        json_array_append_new(found, json_pack("{s:s,s:s,s:s,s:s,s:o}", "channel", ch->id, "name",
                                                               ch->name, "category", category_to_string(ch->category),
                                                               "file", ch->file, "entries", entries));
        }
        if (json_array_size(found) == 0)
                return cli_fail(c, STATUS_FAILED, "nothing in '%s' matches '%s'", path, q.text);
        return c->json ? print_json(json_pack("{s:b,s:O}", "ok", 1, "found", found)) : STATUS_OK;
}
