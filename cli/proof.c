/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "cli/evidence.h"

void evidence_done(struct evidence *e)
{
        for (size_t i = 0; i < e->n_problems; i++) {
                free(e->problems[i].file);
                free(e->problems[i].text);
        }
        free(e->problems);
        free(e->batches);
}

void evidence_problem(struct evidence *e, const char *file, unsigned line, const char *text)
{
        struct evidence_problem *list = reallocarray(e->problems, e->n_problems + 1, sizeof(*list));

        if (!list)
                abort(); /* a verdict without this problem would be a lie */
        e->problems = list;
        list[e->n_problems++] = (struct evidence_problem){.file = strdup(file), .line = line, .text = strdup(text)};
}

/* The agent's own word that it was away. */
static void note_gap(struct evidence *e, const char *record, size_t size)
{
        json_auto_t *o = NULL;
        const json_t *coverage;

        if (!memmem(record, size, "\"gap_ms\"", 8))
                return;
        o = json_loadb(record, size, 0, NULL);
        coverage = json_object_get(json_object_get(json_object_get(o, "unmapped"), "onchannel"), "coverage");
        if (strcmp(json_text(coverage, "event"), "gap"))
                return;
        e->n_uncovered++;
        e->uncovered_ms += (uint64_t)json_number(coverage, "gap_ms");
}

static const char *what_is_broken(int r)
{
        if (r == -EILSEQ)
                return "the chain is broken: a record was changed, added, removed or moved";
        if (r == -EKEYREJECTED)
                return "the seal is not this device's signature over these records";
        if (r == -E2BIG)
                return "too large";
        return NULL;
}

static void add_broken(struct evidence *e, const struct evidence_input *in, int r, const struct diag *d)
{
        const char *what = what_is_broken(r);

        evidence_problem(e, in->file, in->line + (d->line ? d->line : 1), what ? what : d->text);
}

int evidence_add(struct evidence *e, const struct evidence_input *in)
{
        _cleanup_(batch_done) struct batch b = {0};
        struct evidence_batch *list;
        struct diag d = {0};
        int r;

        r = batch_parse(in->text, in->size, e->has_key ? e->key : NULL, &b, &d);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                add_broken(e, in, r, &d);
                return 0;
        }
        list = reallocarray(e->batches, e->n_batches + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        e->batches = list;
        list[e->n_batches] = (struct evidence_batch){.seal = b.seal, .file = in->file, .line = in->line + 1};
        strcpy(list[e->n_batches].device, b.device);
        strcpy(list[e->n_batches].boot, b.boot);
        e->n_batches++;
        e->records += b.seal.n;
        for (uint64_t i = 0; i < b.seal.n; i++)
                note_gap(e, b.records[i], b.sizes[i]);
        return 0;
}

static int by_place(const void *a, const void *b)
{
        const struct evidence_batch *x = a, *y = b;
        int r = strcmp(x->device, y->device);

        if (r)
                return r;
        return x->seal.first < y->seal.first ? -1 : x->seal.first > y->seal.first;
}

static void problem_at(struct evidence *e, const struct evidence_batch *b, char *text)
{
        evidence_problem(e, b->file, b->line, text ? text : "out of memory");
        free(text);
}

/* The start of a device's chain is bound to its key. */
static void check_first(struct evidence *e, const struct evidence_batch *b)
{
        uint8_t start[CHAIN_HASH_SIZE];
        char device[DEVICE_ID_MAX];

        if (b->seal.first != 1) {
                e->starts_at_first = false;
                return;
        }
        if (!e->has_key)
                return;
        device_id_format(e->key, device);
        chain_start(e->key, start);
        if (strcmp(device, b->device) || memcmp(start, b->seal.prev, sizeof(start)))
                problem_at(e, b, format_new("the first record of %s does not hang on the device's key", b->device));
}

static void check_next(struct evidence *e, const struct evidence_batch *a, const struct evidence_batch *b)
{
        uint64_t expected = a->seal.first + a->seal.n;

        if (b->seal.first == a->seal.first && b->seal.n == a->seal.n && !memcmp(&a->seal, &b->seal, sizeof(a->seal)))
                return; /* the same batch twice */
        if (b->seal.first > expected)
                problem_at(e, b,
                           format_new("records %" PRIu64 " to %" PRIu64 " of %s are missing or broken", expected,
                                      b->seal.first - 1, b->device));
        else if (b->seal.first < expected || memcmp(a->seal.head, b->seal.prev, CHAIN_HASH_SIZE))
                problem_at(e, b,
                           format_new("fork: record %" PRIu64 " of %s does not follow from record %" PRIu64,
                                      b->seal.first, b->device, b->seal.first - 1));
}

void evidence_link(struct evidence *e)
{
        e->starts_at_first = true;
        if (e->n_batches == 0)
                return;
        qsort(e->batches, e->n_batches, sizeof(*e->batches), by_place);
        for (size_t i = 0; i < e->n_batches; i++) {
                const struct evidence_batch *b = &e->batches[i], *a = b - 1;

                if (i == 0 || strcmp(a->device, b->device))
                        check_first(e, b);
                else
                        check_next(e, a, b);
        }
}

static bool holds(const struct evidence *e)
{
        return e->n_problems == 0 && e->n_batches > 0;
}

static int print_as_json(const struct evidence *e)
{
        json_t *problems = json_array(), *batches = json_array();

        for (size_t i = 0; i < e->n_problems; i++)
                json_array_append_new(problems,
                                      json_pack("{s:s,s:I,s:s}", "file", e->problems[i].file, "line",
                                                (json_int_t)e->problems[i].line, "text", e->problems[i].text));
        for (size_t i = 0; i < e->n_batches; i++)
                json_array_append_new(batches,
                                      json_pack("{s:s,s:s,s:I,s:I}", "device", e->batches[i].device, "boot",
                                                e->batches[i].boot, "first", (json_int_t)e->batches[i].seal.first,
                                                "n", (json_int_t)e->batches[i].seal.n));
        return print_json(json_pack("{s:b,s:I,s:o,s:s,s:b,s:I,s:I,s:o}", "ok", holds(e), "records",
                                    (json_int_t)e->records, "batches", batches, "seals",
                                    e->has_key ? "checked" : "not checked", "from_the_first_record",
                                    e->starts_at_first, "agent_away", (json_int_t)e->n_uncovered, "agent_away_ms",
                                    (json_int_t)e->uncovered_ms, "problems", problems));
}

static void print_holds(const struct cli *c, const struct evidence *e)
{
        const struct evidence_batch *b = e->batches;
        char away[32];

        for (size_t i = 0, n; i < e->n_batches; i += n) {
                for (n = 1; i + n < e->n_batches && !strcmp(b[i].device, b[i + n].device); n++)
                        ;
                print_field(c, "device", COLOUR_NONE, "%s: records %" PRIu64 " to %" PRIu64 " in %zu batches",
                            b[i].device, b[i].seal.first, b[i + n - 1].seal.first + b[i + n - 1].seal.n - 1, n);
        }
        if (e->has_key)
                print_field(c, "seals", COLOUR_NONE, "every batch above is signed by the device's key");
        else
                print_field(c, "seals", COLOUR_WARN, "not checked: give --device-key");
        if (!e->starts_at_first && e->n_batches)
                print_field(c, "start", COLOUR_WARN, "earlier records are not among these files");
        if (e->n_uncovered)
                print_field(c, "coverage", COLOUR_WARN, "the agent was away %zu times, %s in all", e->n_uncovered,
                            duration_format(e->uncovered_ms / 1000, away));
}

int evidence_print(const struct cli *c, const struct evidence *e)
{
        if (c->json) {
                int r = print_as_json(e);

                return r == STATUS_OK && holds(e) ? STATUS_OK : STATUS_FAILED;
        }
        print_holds(c, e);
        for (size_t i = 0; i < e->n_problems; i++)
                print_field(c, "broken", COLOUR_BAD, "%s:%u: %s", e->problems[i].file, e->problems[i].line,
                            e->problems[i].text);
        if (holds(e))
                print_field(c, "result", COLOUR_GOOD, "holds: %" PRIu64 " records, unchanged, complete and in order",
                            e->records);
        else
                print_field(c, "result", COLOUR_BAD, "%s", e->n_problems ? "does not hold" : "no records were found");
        return holds(e) ? STATUS_OK : STATUS_FAILED;
}
