/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/bundle.h"

#define HOLES_SHOWN 10

static const char *stamp(uint64_t ms, char buf[static TIME_TEXT_MAX])
{
        return time_format((time_t)(ms / 1000), buf);
}

static void print_head(const struct cli *c, const struct verify *v)
{
        char created[TIME_TEXT_MAX], from[TIME_TEXT_MAX], to[TIME_TEXT_MAX];

        if (!v->has_head)
                return;
        print_field(c, "bundle", COLOUR_NONE, "made %s by %s (onchannel %s)", stamp(v->created_ms, created),
                    v->origin, v->version);
        print_field(c, "asked for", COLOUR_NONE, "%s%s%s%s%s%s", v->from_ms ? "from " : "",
                    v->from_ms ? stamp(v->from_ms, from) : "from the beginning", v->to_ms ? " to " : " to the end",
                    v->to_ms ? stamp(v->to_ms, to) : "", v->filter && strcmp(v->filter, "{}") ? ", only " : "",
                    v->filter && strcmp(v->filter, "{}") ? v->filter : "");
}

static void print_coverage(const struct cli *c, const struct verify_device *d)
{
        char from[TIME_TEXT_MAX], to[TIME_TEXT_MAX], span[32];

        if (d->n_holes == 0) {
                print_field(c, "", COLOUR_GOOD, "covered without a hole from %s to %s",
                            stamp(d->first_coverage_ms, from), stamp(d->last_coverage_ms, to));
        } else {
                print_field(c, "", COLOUR_WARN,
                            "%zu%s holes in coverage, %s in all: no violation there proves nothing", d->n_holes,
                            d->n_holes == VERIFY_HOLES_MAX ? " or more" : "",
                            duration_format(d->uncovered_ms / 1000, span));
                for (size_t i = 0; i < d->n_holes && i < HOLES_SHOWN; i++)
                        print_field(c, "", COLOUR_DIM, "  %s to %s: %s", stamp(d->holes[i].from_ms, from),
                                    stamp(d->holes[i].to_ms, to), d->holes[i].why);
                if (d->n_holes > HOLES_SHOWN)
                        print_field(c, "", COLOUR_DIM, "  and %zu more (--json has them)", d->n_holes - HOLES_SHOWN);
        }
        if (d->asleep_ms > 0)
                print_field(c, "", COLOUR_DIM, "the machine slept for %s of that",
                            duration_format(d->asleep_ms / 1000, span));
        if (d->monitor_ms > 0)
                print_field(c, "", COLOUR_WARN, "%s of that watched only, not enforced",
                            duration_format(d->monitor_ms / 1000, span));
        if (d->lost || d->refused)
                print_field(c, "", COLOUR_WARN,
                            "the device says that it lost %" PRIu64 " facts and could not write down %" PRIu64
                            " attempts",
                            d->lost, d->refused);
}

static void print_device(const struct cli *c, const struct verify_device *d)
{
        print_field(c, "device", COLOUR_NONE, "%s (%s)", d->d.name, d->d.id);
        if (d->d.id[device_id_size(d->d.id)])
                print_field(c, "", COLOUR_WARN,
                            "a branch: what another machine with the key of %.*s recorded, as a copied disk has it",
                            (int)device_id_size(d->d.id), d->d.id);
        if (d->batches > 0)
                print_field(c, "", COLOUR_NONE,
                            "records %" PRIu64 " to %" PRIu64 " in %" PRIu64 " sealed batches: %" PRIu64
                            " here (%" PRIu64 " violations), %" PRIu64 " withheld, %" PRIu64 " erased",
                            d->first, d->next - 1, d->batches, d->present, d->violations, d->withheld, d->erased);
        else
                print_field(c, "", COLOUR_WARN, "no records");
        if (d->unlogged)
                print_field(c, "", COLOUR_WARN, "%" PRIu64 " batches are in no log yet", d->unlogged);
        if (d->gone)
                print_field(c, "", COLOUR_WARN,
                            "%" PRIu64 " records are no longer kept: what they said cannot be shown", d->gone);
        print_coverage(c, d);
}

static void print_log(const struct cli *c, const struct verify *v, const struct verify_log *l)
{
        char when[TIME_TEXT_MAX];

        print_field(c, "log", COLOUR_NONE,
                    "%s of %" PRIu64 " entries: %" PRIu64 " of the bundle's are in it, %" PRIu64
                    " earlier states that devices saw are in its history",
                    l->key.name, l->checkpoint.head.size, l->leaves, l->seen);
        for (size_t i = 0; i < v->options.n_witnesses; i++)
                if (l->cosigned[i] > l->last_leaf)
                        print_field(c, "", COLOUR_GOOD, "the witness %s saw all of these by %s",
                                    v->options.witnesses[i].name, stamp(l->cosigned_s[i] * 1000, when));
                else if (l->cosigned[i] > 0)
                        print_field(c, "", COLOUR_WARN,
                                    "the witness %s saw the first %" PRIu64 " entries by %s, not those after",
                                    v->options.witnesses[i].name, l->cosigned[i],
                                    stamp(l->cosigned_s[i] * 1000, when));
}

static void print_limits(const struct cli *c, const struct verify *v)
{
        char vkey[NOTE_VKEY_MAX];
        uint64_t withheld = 0, erased = 0;

        for (size_t i = 0; i < v->n_logs; i++)
                if (!v->logs[i].pinned) {
                        note_key_format(&v->logs[i].key, vkey);
                        print_field(
                                c, "not proved", COLOUR_WARN,
                                "whose key signed the log: compare %s with what the firm gave you, or give --log-key",
                                vkey);
                }
        if (v->options.n_witnesses == 0)
                print_field(c, "not proved", COLOUR_WARN,
                            "that others were shown the same log: give --witness and the key of a witness");
        for (size_t i = 0; i < v->n_devices; i++) {
                withheld += v->devices[i].withheld;
                erased += v->devices[i].erased;
        }
        if (withheld || erased)
                print_field(c, "not proved", COLOUR_WARN,
                            "what %" PRIu64 " withheld and %" PRIu64
                            " erased records say; only that they are where they were",
                            withheld, erased);
        print_field(c, "not proved", COLOUR_DIM,
                    "what root did on a device before a record was sealed; which device has which name, and that no "
                    "device is left out, is the collector's word");
}

static void print_problems(const struct cli *c, const struct verify *v)
{
        for (size_t i = 0; i < v->n_problems; i++) {
                const struct verify_problem *p = &v->problems[i];

                if (*p->device && p->seq)
                        print_field(c, "broken", COLOUR_BAD,
                                    "line %" PRIu64 ", byte %" PRIu64 ", %s record %" PRIu64 ": %s", p->line, p->byte,
                                    p->device, p->seq, p->text);
                else
                        print_field(c, "broken", COLOUR_BAD, "line %" PRIu64 ", byte %" PRIu64 "%s%s: %s", p->line,
                                    p->byte, *p->device ? ", " : "", p->device, p->text);
        }
        if (v->n_more_problems)
                print_field(c, "broken", COLOUR_BAD, "and %zu more", v->n_more_problems);
}

static json_t *device_to_json(const struct verify_device *d)
{
        json_t *holes = json_array();

        for (size_t i = 0; i < d->n_holes; i++)
                json_array_append_new(holes, json_pack("{s:I,s:I,s:s}", "from", (json_int_t)d->holes[i].from_ms, "to",
                                                       (json_int_t)d->holes[i].to_ms, "why", d->holes[i].why));
        return json_pack("{s:s,s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "device", d->d.id,
                         "branch", d->d.id[device_id_size(d->d.id)] != 0, "name", d->d.name, "first",
                         (json_int_t)d->first, "last", (json_int_t)(d->next ? d->next - 1 : 0), "present",
                         (json_int_t)d->present, "withheld", (json_int_t)d->withheld, "gone", (json_int_t)d->gone,
                         "erased", (json_int_t)d->erased, "violations", (json_int_t)d->violations, "coverage",
                         (json_int_t)d->coverage, "unlogged", (json_int_t)d->unlogged, "uncovered_ms",
                         (json_int_t)d->uncovered_ms, "asleep_ms", (json_int_t)d->asleep_ms, "lost",
                         (json_int_t)d->lost, "refused", (json_int_t)d->refused, "holes", holes);
}

static json_t *log_to_json(const struct verify *v, const struct verify_log *l)
{
        json_t *cosigned = json_array();

        for (size_t i = 0; i < v->options.n_witnesses; i++)
                json_array_append_new(cosigned, json_pack("{s:s,s:I,s:I}", "witness", v->options.witnesses[i].name,
                                                          "size", (json_int_t)l->cosigned[i], "time",
                                                          (json_int_t)l->cosigned_s[i] * 1000));
        return json_pack("{s:s,s:I,s:b,s:I,s:I,s:o}", "origin", l->key.name, "size",
                         (json_int_t)l->checkpoint.head.size, "key_given", l->pinned, "proved", (json_int_t)l->leaves,
                         "seen", (json_int_t)l->seen, "cosigned", cosigned);
}

static int print_as_json(const struct verify *v)
{
        json_t *devices = json_array(), *logs = json_array(), *problems = json_array();

        for (size_t i = 0; i < v->n_devices; i++)
                json_array_append_new(devices, device_to_json(&v->devices[i]));
        for (size_t i = 0; i < v->n_logs; i++)
                json_array_append_new(logs, log_to_json(v, &v->logs[i]));
        for (size_t i = 0; i < v->n_problems; i++)
                json_array_append_new(
                        problems, json_pack("{s:I,s:I,s:s,s:I,s:s}", "line", (json_int_t)v->problems[i].line, "byte",
                                            (json_int_t)v->problems[i].byte, "device", v->problems[i].device, "seq",
                                            (json_int_t)v->problems[i].seq, "text", v->problems[i].text));
        return print_json(json_pack("{s:b,s:s,s:I,s:b,s:I,s:o,s:o,s:o}", "ok", verify_holds(v), "origin", v->origin,
                                    "created", (json_int_t)v->created_ms, "signed", v->signed_end, "audits",
                                    (json_int_t)v->audits, "devices", devices, "logs", logs, "problems", problems));
}

int bundle_print(const struct cli *c, const struct verify *v)
{
        bool holds = verify_holds(v);
        uint64_t unlogged = 0;

        for (size_t i = 0; i < v->n_devices; i++)
                unlogged += v->devices[i].unlogged;
        if (v->no_memory)
                return cli_fail(c, STATUS_FAILED, "no memory: no verdict");
        if (c->json)
                return print_as_json(v) == STATUS_OK && holds ? STATUS_OK : STATUS_FAILED;
        print_head(c, v);
        for (size_t i = 0; i < v->n_devices; i++)
                print_device(c, &v->devices[i]);
        for (size_t i = 0; i < v->n_logs; i++)
                print_log(c, v, &v->logs[i]);
        if (v->audits)
                print_field(c, "audit", COLOUR_NONE,
                            "%" PRIu64 " actions of administrators and readers, as they were logged", v->audits);
        print_limits(c, v);
        print_problems(c, v);
        if (holds)
                print_field(c, "result", unlogged ? COLOUR_WARN : COLOUR_GOOD,
                            "holds: every record here is what its device sealed, complete and in order%s",
                            unlogged ? "; not all of it is in the log yet" : ", and in the log");
        else
                print_field(c, "result", COLOUR_BAD, "does not hold");
        return holds ? STATUS_OK : STATUS_FAILED;
}
