/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The collector's log: its checkpoint, what is in it, and what devices saw of it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "evidence/verify.h"

static bool find_pinned(const struct verify *v, const char *name, struct note_key *ret)
{
        for (size_t i = 0; i < v->options.n_keys; i++)
                if (strcmp(v->options.keys[i].name, name) == 0) {
                        *ret = v->options.keys[i];
                        return true;
                }
        return false;
}

void verify_checkpoint(struct verify *v, json_t *o)
{
        const char *note = json_string_value(json_object_get(o, "checkpoint"));
        const char *vkey = json_string_value(json_object_get(o, "key"));
        struct verify_log l = {0};

        if (v->n_logs == VERIFY_LOGS_MAX || !note || !vkey || note_key_parse(vkey, &l.key) < 0) {
                verify_problem(v, NULL, 0, "the checkpoint or its key cannot be read");
                return;
        }
        if (verify_log_find(v, l.key.name)) {
                verify_problem(v, NULL, 0, "a second checkpoint of %s", l.key.name);
                return;
        }
        l.pinned = find_pinned(v, l.key.name, &l.key);
        if (v->options.n_keys > 0 && !l.pinned)
                verify_problem(v, NULL, 0, "the log %s is none of those whose keys were given", l.key.name);
        if (checkpoint_open(note, strlen(note), &l.key, &l.checkpoint) < 0) {
                verify_problem(v, NULL, 0, "the checkpoint is not signed by %s", l.key.name);
                return;
        }
        v->logs[v->n_logs++] = l;
}

bool verify_leaf(struct verify *v, const struct verify_device *d, const struct bundle_leaf *l,
                 const struct buf *entry)
{
        struct verify_log *log = verify_log_find(v, l->log);
        uint8_t hash[MERKLE_HASH_SIZE];

        if (!*l->log)
                return false;
        if (buf_error(entry) < 0) {
                v->no_memory = true;
                return true;
        }
        merkle_leaf(entry->data, entry->size, hash);
        if (!log)
                verify_problem(v, d, 0, "there is no good checkpoint of the log %s", l->log);
        else if (merkle_inclusion_verify(hash, l->index, log->checkpoint.head.size, &l->proof,
                                         log->checkpoint.head.root) < 0)
                verify_problem(v, d, d ? d->next - 1 : 0, "%s is not entry %" PRIu64 " of the log %s",
                               d ? "the batch that ends here" : "administrators' action", l->index, l->log);
        else {
                log->leaves++;
                log->last_leaf = l->index > log->last_leaf ? l->index : log->last_leaf;
        }
        return true;
}

void verify_cosigned(struct verify *v, json_t *o)
{
        const char *origin = json_string_value(json_object_get(o, "log")), *note, *what;
        struct verify_log *log = origin ? verify_log_find(v, origin) : NULL;
        struct merkle_proof p;
        struct checkpoint c;

        if (bundle_cosigned_parse(o, &p, &note, &what) < 0) {
                verify_problem(v, NULL, 0, "the cosigned checkpoint's '%s' is missing or not valid", what);
                return;
        }
        if (!log || checkpoint_open(note, strlen(note), &log->key, &c) < 0 ||
            merkle_consistency_verify(&c.head, &log->checkpoint.head, &p) < 0) {
                verify_problem(v, NULL, 0,
                               "the checkpoint that a witness cosigned is not in the history of the log %s",
                               origin ? origin : "");
                return;
        }
        for (size_t i = 0; i < v->options.n_witnesses; i++) {
                uint64_t time_s = 0;
                int r = note_verify(note, strlen(note), &v->options.witnesses[i], &time_s);

                if (r == 0 && c.head.size >= log->cosigned[i]) {
                        log->cosigned[i] = c.head.size;
                        log->cosigned_s[i] = time_s;
                } else if (r < 0 && r != -ENOKEY) {
                        verify_problem(v, NULL, 0, "a wrong cosignature by the witness %s",
                                       v->options.witnesses[i].name);
                }
        }
}

void verify_witnesses(struct verify *v)
{
        for (size_t i = 0; i < v->n_logs; i++)
                for (size_t k = 0; k < v->options.n_witnesses; k++)
                        if (v->logs[i].leaves > 0 && v->logs[i].cosigned[k] == 0)
                                verify_problem(v, NULL, 0, "the log %s is not cosigned by the witness %s",
                                               v->logs[i].key.name, v->options.witnesses[k].name);
}

void verify_seen(struct verify *v, json_t *o)
{
        struct bundle_seen s;
        struct verify_log *log;
        const char *what;

        if (bundle_seen_parse(o, &s, &what) < 0) {
                verify_problem(v, NULL, 0, "the seen checkpoint's '%s' is missing or not valid", what);
                return;
        }
        log = verify_log_find(v, s.log);
        if (!log || merkle_consistency_verify(&s.head, &log->checkpoint.head, &s.proof) < 0) {
                verify_problem(v, NULL, 0,
                               "the log %s of size %" PRIu64 " that was seen is not in the history of its checkpoint",
                               s.log, s.head.size);
                return;
        }
        log->seen++;
        for (size_t i = 0; i < v->n_echoes; i++)
                if (strcmp(v->echoes[i].log, s.log) == 0 && v->echoes[i].head.size == s.head.size &&
                    memcmp(v->echoes[i].head.root, s.head.root, MERKLE_HASH_SIZE) == 0)
                        v->echoes[i].proved = true;
}

void verify_echoes(struct verify *v)
{
        uint64_t line = v->line, byte = v->byte;

        for (size_t i = 0; i < v->n_echoes; i++) {
                const struct verify_echo *e = &v->echoes[i];

                if (e->proved)
                        continue;
                v->line = e->line;
                v->byte = e->byte;
                verify_problem(v, &v->devices[e->device], e->seq,
                               "the device saw the log %s at size %" PRIu64
                               ": that is not in the history of the bundle's checkpoint (the log was forked, or the "
                               "proof is missing)",
                               e->log, e->head.size);
        }
        v->line = line;
        v->byte = byte;
}

void verify_signed_end(struct verify *v, json_t *o)
{
        const char *note = json_string_value(json_object_get(o, "end"));
        const struct verify_log *log = verify_log_find(v, v->origin);
        _cleanup_buf_ struct buf text = {0};
        size_t size;

        bundle_end_text(&text, v->origin, v->line - 1, v->hash);
        if (buf_error(&text) < 0)
                v->no_memory = true;
        else if (!note || note_text(note, strlen(note), &size) < 0)
                verify_problem(v, NULL, 0, "the end cannot be read");
        else if (size != text.size || memcmp(note, text.data, size) != 0)
                verify_problem(
                        v, NULL, 0,
                        "the bundle is not the one that was signed: lines were changed, added, removed or moved");
        else if (!log || note_verify(note, strlen(note), &log->key, NULL) < 0)
                verify_problem(v, NULL, 0, "the end is not signed by %s", v->origin);
        else
                v->signed_end = true;
}
