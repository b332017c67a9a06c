/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "collector/log/export.h"
#include <errno.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "base/version.h"
#include "collector/log/export-private.h"

static char *copy(const char *s, bool *failed)
{
        char *c = s ? strdup(s) : NULL;

        *failed = *failed || (s && !c);
        return c;
}

/* The filter's strings outlive the request. */
static int filter_copy(struct export *e, const struct store_filter *f)
{
        bool failed = false;

        e->filter = (struct store_filter){.from_ms = f->from_ms, .to_ms = f->to_ms};
        e->filter.device = e->owned[0] = copy(f->device, &failed);
        e->filter.user = e->owned[1] = copy(f->user, &failed);
        e->filter.channel = e->owned[2] = copy(f->channel, &failed);
        e->filter.class = e->owned[3] = copy(f->class, &failed);
        e->filter.tier = e->owned[4] = copy(f->tier, &failed);
        e->filter.layer = e->owned[5] = copy(f->layer, &failed);
        e->filter.outcome = e->owned[6] = copy(f->outcome, &failed);
        e->filter.program = e->owned[7] = copy(f->program, &failed);
        return failed ? -ENOMEM : 0;
}

struct export *export_free(struct export *e)
{
        if (!e)
                return NULL;
        for (size_t i = 0; i < ELEMENTSOF(e->owned); i++)
                free(e->owned[i]);
        for (size_t i = 0; i < e->n_logs; i++) {
                tlog_head_done(&e->logs[i].head);
                free(e->logs[i].reader);
        }
        free(e->devices);
        free(e->seen);
        db_free(e->db);
        free(e);
        return NULL;
}

/* ---- what there is ---- */

static int read_logs(struct export *e)
{
        _cleanup_rows_ struct db_rows q = {0};
        int64_t numbers[VERIFY_LOGS_MAX];
        size_t n = 0;
        int r = db_query(e->db, "SELECT number FROM log WHERE note IS NOT NULL ORDER BY number LIMIT 64", &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0)
                numbers[n++] = db_int(&q, 0);
        for (size_t i = 0; i < n && r >= 0; i++) {
                struct export_log *l = &e->logs[e->n_logs];

                r = tlog_head_get(e->db, NULL, numbers[i], &l->head);
                if (r < 0)
                        break;
                e->n_logs++;
                l->reader = malloc(sizeof(*l->reader));
                if (!l->reader)
                        return -ENOMEM;
                tlog_reader_init(l->reader, e->db, &l->head);
        }
        return r;
}

struct export_log *export_log_find(struct export *e, int64_t number)
{
        for (size_t i = 0; i < e->n_logs; i++)
                if (e->logs[i].head.number == number)
                        return &e->logs[i];
        return NULL;
}

static int read_devices(struct export *e)
{
        _cleanup_rows_ struct db_rows q = {0};
        int r = e->filter.device
                        ? db_query(e->db,
                                   "SELECT number FROM device WHERE id = $1 OR name = $1 OR branch_of IN"
                                   " (SELECT number FROM device WHERE id = $1 OR name = $1) ORDER BY name, number",
                                   &q, "t", e->filter.device)
                        : db_query(e->db, "SELECT number FROM device ORDER BY name, number", &q, "");

        while (r >= 0 && (r = db_next(&q)) > 0) {
                int64_t *list = reallocarray(e->devices, e->n_devices + 1, sizeof(*list));

                if (!list)
                        return -ENOMEM;
                e->devices = list;
                list[e->n_devices++] = db_int(&q, 0);
        }
        return r;
}

int export_open(const struct export_options *o, struct export **ret, struct diag *reterr)
{
        _cleanup_(export_freep) struct export *e = calloc(1, sizeof(*e));
        int r;

        if (!e)
                return -ENOMEM;
        e->options = *o;
        r = filter_copy(e, o->filter);
        if (r == 0)
                r = db_open(o->where, DB_READ_ONLY, &e->db, reterr);
        if (r < 0)
                return r;
        db_stop_on(e->db, o->stop);
        r = read_logs(e);
        if (r == 0)
                r = read_devices(e);
        if (r < 0)
                return diag_set(reterr, r, NULL, 0, "cannot read the database: %s", db_error(e->db));
        if (e->n_logs == 0)
                return diag_set(reterr, -ENOENT, NULL, 0, "the log has no checkpoint yet: nothing to prove it by");
        if (e->filter.device && e->n_devices == 0)
                return diag_set(reterr, -ENOENT, NULL, 0, "there is no device '%s'", e->filter.device);
        *ret = TAKE_PTR(e);
        return 0;
}

/* ---- pieces ---- */

static json_t *filter_json(const struct export *e)
{
        static const char *const names[] = {"device", "user",  "channel", "class",
                                            "tier",   "layer", "outcome", "program"};
        json_t *o = json_object();

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (e->owned[i])
                        json_object_set_new(o, names[i], json_string(e->owned[i]));
        return o;
}

struct cosigned {
        struct export *e;
        struct export_log *log;
        struct buf *out;
};

static int cosigned_add(const struct tlog_witness *w, void *userdata)
{
        struct cosigned *c = userdata;
        struct merkle_proof p;
        int r;

        if (!w->note || w->size > c->log->head.checkpoint.head.size)
                return 0;
        r = merkle_consistency(&c->log->reader->tree, w->size, c->log->head.checkpoint.head.size, &p);
        if (r == 0)
                bundle_write_cosigned(&c->e->writer, c->out, w->note, c->log->head.key.name, &p);
        return r;
}

static int write_head(struct export *e, struct buf *out)
{
        json_auto_t *filter = filter_json(e);
        char vkey[NOTE_VKEY_MAX];
        int r = filter ? 0 : -ENOMEM;

        bundle_write_head(&e->writer, out,
                          &(struct bundle_head){.origin = e->options.key->name,
                                                .version = onchannel_version,
                                                .created_ms = e->options.now_ms,
                                                .from_ms = e->filter.from_ms,
                                                .to_ms = e->filter.to_ms == UINT64_MAX ? 0 : e->filter.to_ms,
                                                .filter = filter});
        for (size_t i = 0; i < e->n_logs && r == 0; i++) {
                struct cosigned c = {e, &e->logs[i], out};

                note_key_format(&e->logs[i].head.key, vkey);
                bundle_write_checkpoint(&e->writer, out, vkey, e->logs[i].head.note);
                r = tlog_witnesses(e->db, e->logs[i].head.number, cosigned_add, &c);
        }
        return r;
}

static int write_device(struct export *e, struct buf *out)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct bundle_device d = {0};
        int r = db_query(e->db, "SELECT id, name, public_key, enrolled_ms FROM device WHERE number = $1", &q, "i",
                         e->devices[e->device]);

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r < 0 ? r : -EUCLEAN;
        if (db_copy(&q, 0, d.id, sizeof(d.id)) < 0 || db_copy(&q, 1, d.name, sizeof(d.name)) < 0 ||
            db_bytes(&q, 2, d.public_key, sizeof(d.public_key)) < 0)
                return -EUCLEAN;
        d.enrolled_ms = (uint64_t)db_int(&q, 3);
        strcpy(e->device_id, d.id);
        bundle_write_device(&e->writer, out, &d);
        return export_range(e);
}

static int write_audit(struct export *e, struct buf *out)
{
        _cleanup_rows_ struct db_rows q = {0};
        struct bundle_audit a = {0};
        _cleanup_buf_ struct buf line = {0};
        struct export_log *log;
        int r = db_query(
                e->db,
                "SELECT number, time_ms, who, action, detail, salt, log, leaf FROM admin_audit"
                " WHERE number > $1 AND leaf IS NOT NULL AND time_ms >= $2 AND time_ms < $3 ORDER BY number LIMIT 1",
                &q, "iii", e->cursor, (int64_t)e->filter.from_ms, export_to(e));

        if (r < 0 || (r = db_next(&q)) <= 0)
                return r;
        e->cursor = db_int(&q, 0);
        log = export_log_find(e, db_int(&q, 6));
        if (!log || (uint64_t)db_int(&q, 7) >= log->head.checkpoint.head.size)
                return 1; /* newer than the checkpoint */
        a.number = (uint64_t)e->cursor;
        if (db_bytes(&q, 5, a.salt, sizeof(a.salt)) < 0)
                return -EUCLEAN;
        audit_line_format(&line, a.number, (uint64_t)db_int(&q, 1), db_text(&q, 2), db_text(&q, 3), db_text(&q, 4));
        a.text = (const char *)line.data;
        a.size = line.size;
        a.leaf.index = (uint64_t)db_int(&q, 7);
        db_rows_done(&q);
        r = export_leaf(log, &a.leaf);
        if (r < 0)
                return r;
        bundle_write_audit(&e->writer, out, &a);
        return 1;
}

static int write_seen(struct export *e, struct buf *out)
{
        for (size_t i = 0; i < e->n_seen; i++) {
                struct bundle_seen *s = &e->seen[i];

                for (size_t k = 0; k < e->n_logs; k++) {
                        if (strcmp(e->logs[k].head.key.name, s->log) != 0 ||
                            s->head.size > e->logs[k].head.checkpoint.head.size)
                                continue;
                        int r = merkle_consistency(&e->logs[k].reader->tree, s->head.size,
                                                   e->logs[k].head.checkpoint.head.size, &s->proof);
                        if (r < 0)
                                return r;
                        bundle_write_seen(&e->writer, out, s);
                }
        }
        return 0;
}

static int step(struct export *e, struct buf *out)
{
        int r;

        switch (e->phase) {
        case EXPORT_HEAD:
                e->phase = EXPORT_DEVICE;
                return write_head(e, out);
        case EXPORT_DEVICE:
                e->phase = e->device < e->n_devices ? EXPORT_BATCH : EXPORT_AUDIT;
                e->cursor = 0;
                return e->phase == EXPORT_BATCH ? write_device(e, out) : 0;
        case EXPORT_BATCH:
                r = export_batch(e, out);
                if (r != 0)
                        return r;
                e->device++;
                e->phase = EXPORT_DEVICE;
                return 0;
        case EXPORT_AUDIT:
                r = write_audit(e, out);
                if (r == 0)
                        e->phase = EXPORT_END;
                return r;
        case EXPORT_END:
                e->phase = EXPORT_DONE;
                r = write_seen(e, out);
                if (r == 0)
                        bundle_write_end(&e->writer, out, e->options.key, e->options.secret);
                return r;
        case EXPORT_DONE:
                break;
        }
        return 0;
}

int export_more(struct export *e, struct buf *out)
{
        int r = step(e, out);

        if (r >= 0 && buf_error(out) < 0)
                r = buf_error(out);
        return r < 0 ? r : e->phase != EXPORT_DONE;
}
