/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "agent/classify/identify.h"
#include "agent/classify/look.h"
#include "agent/classify/proc.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define LOOKS_MAX  256 /* starts waiting for the thread */
#define HASHED_MAX 128 /* files whose SHA-256 is remembered */
#define SETTLED_NS 3000000000ull /* a younger file may still change within one tick of the clock (FAT: 2 s) */

static const struct learn_options this_machine = {.root = "", .dpkg = "/var/lib/dpkg", .rpm = "/var/lib/rpm"};

struct identify {
        struct identify_options o;
        struct worker *worker;
        const struct ruleset *rules; /* borrowed */
        bool has_sha256; /* the rule set has any */
        bool has_argv;
        struct known *known; /* NULL: nothing */
        uint64_t stamp; /* of the package database when `known` was learnt */
        struct content hashed[HASHED_MAX];
        size_t next_hashed;
};

static const struct known *known_of(const struct identify *id)
{
        static const struct known nothing;

        return id->known ? id->known : &nothing;
}

/* By what the catalogue says, then by what was learnt. */
static uint32_t match_content(const struct identify *id, const struct content *c, enum host *ret_host)
{
        const struct known_item *item;
        uint32_t entry;

        *ret_host = HOST_NONE;
        entry = rules_match_program(id->rules,
                                    &(struct rules_program){.build_id = c->build_id[0] ? c->build_id : NULL,
                                                            .sha256 = c->sha256[0] ? c->sha256 : NULL});
        item = entry ? NULL : known_find_content(known_of(id), c);
        if (!item)
                return entry;
        *ret_host = item->host;
        return item->entry;
}

static bool is_same_file(const struct content *a, const struct content *b)
{
        return a->dev == b->dev && a->ino == b->ino && a->ctime_ns == b->ctime_ns && a->size == b->size;
}

static void recall_sha256(const struct identify *id, struct content *c)
{
        for (size_t i = 0; i < HASHED_MAX; i++)
                if (id->hashed[i].sha256[0] && is_same_file(&id->hashed[i], c)) {
                        strcpy(c->sha256, id->hashed[i].sha256);
                        return;
                }
}

static void remember_sha256(struct identify *id, const struct content *c)
{
        if (!c->sha256[0] || c->ino == 0 || c->ctime_ns + SETTLED_NS > clock_ns(CLOCK_REALTIME))
                return;
        id->hashed[id->next_hashed++ % HASHED_MAX] = *c;
}

static void found(const struct identify *id, struct look *l, uint32_t entry, bool look_at_argv)
{
        l->result.entry = entry;
        l->result.channel = id->rules->entries[entry].channel;
        l->result.look_at_argv = look_at_argv;
}

/* 1: handed to the thread, which owns it now. */
static int submit(struct identify *id, struct look *l, enum look_step step)
{
        int r;

        l->step = step;
        l->want_sha256 = id->has_sha256;
        r = worker_submit(id->worker, &l->job);
        return r < 0 ? r : 1;
}

/* It may still be what the fact tells of, or something else by now. */
static bool is_still(const struct look *l)
{
        struct stat st;

        return proc_stat_exe(l->proc, &st) == 0 && (l->fact.exe_ino == 0 || l->fact.exe_ino == st.st_ino);
}

/* Of a process that was found running nobody had said which executable it has; now that was read. */
static void name_exe(struct look *l)
{
        if (l->fact.exe_ino == 0 && l->has_exe)
                l->fact.exe_ino = l->exe.ino;
}

/* The archive that makes a shared runtime one program: Electron's. */
static void name_archive(struct look *l)
{
        static const char archive[] = "resources/app.asar";
        const char *slash = strrchr(l->fact.path, '/');
        size_t size = slash ? (size_t)(slash + 1 - l->fact.path) : 0;

        if (l->fact.path[0] != '/' || size + sizeof(archive) > sizeof(l->file))
                return;
        memcpy(l->file, l->fact.path, size);
        strcpy(l->file + size, archive);
        l->is_beside = true;
}

static bool is_worth_reading(const struct identify *id, const struct look *l)
{
        return id->has_sha256 || known_of(id)->n_channels || l->host == HOST_LOADER ||
               (id->has_argv && look_may_be_chromium(l));
}

/* What the executable runs, when it is one that runs others. `host` by its content, for a
 * renamed one; classify_exec() has asked the others' arguments. */
static int look_further(struct identify *id, struct look *l, enum host host)
{
        bool is_renamed = host != HOST_NONE && host_of(l->fact.path) == HOST_NONE;
        struct host_match m = {};
        int r = 0;

        l->host = host != HOST_NONE ? host : host_of(l->fact.path);
        l->result.look_at_argv |= l->host != HOST_NONE;
        if (l->host != HOST_NONE)
                r = classify_host(id->rules, l->proc, l->host, &m);
        if (r < 0 || !is_still(l))
                return r < 0 ? r : -ESRCH;
        if (is_renamed && m.entry) {
                found(id, l, m.entry, true);
                if (m.file[0])
                        strcpy(l->fact.path, m.file);
                return 0;
        }
        strcpy(l->file, m.file);
        if (!l->file[0] && (l->host == HOST_NONE || l->host == HOST_BROWSER || l->host == HOST_ELECTRON))
                name_archive(l);
        if (!l->file[0] || !is_worth_reading(id, l))
                return 0;
        return submit(id, l, LOOK_AT_FILE);
}

/* Everything about the executable that can be read has been. */
static int judge_exe(struct identify *id, struct look *l)
{
        enum host host;
        uint32_t entry = match_content(id, &l->exe, &host);

        if (entry == 0)
                return look_further(id, l, host);
        found(id, l, entry, false);
        return 0;
}

static void judge_file(struct identify *id, struct look *l)
{
        struct host_match m = {};
        enum host host;
        uint32_t entry = 0;

        for (size_t i = 0; entry == 0 && i < l->n_contents; i++)
                entry = match_content(id, &l->contents[i], &host);
        /* the same executable beside another archive is another program */
        if (l->n_contents > 0 || l->is_chromium)
                l->result.look_at_argv = true;
        if (entry == 0 && l->is_chromium && classify_host(id->rules, l->proc, HOST_BROWSER, &m) == 0)
                entry = m.entry;
        if (entry == 0)
                return;
        found(id, l, entry, true);
        if (!l->is_beside)
                strcpy(l->fact.path, l->file);
}

static void on_looked(struct worker_job *job, void *userdata)
{
        struct identify *id = userdata;
        struct look *l = (struct look *)job;
        int r = 0;

        switch (l->step) {
        case LOOK_AT_EXE:
                remember_sha256(id, &l->exe);
                r = judge_exe(id, l);
                break;
        case LOOK_AT_FILE:
                judge_file(id, l);
                break;
        }
        if (r > 0)
                return;
        l->result.pending = false;
        name_exe(l);
        l->result.gone = r == -ESRCH || !is_still(l);
        l->result.look_at_argv |= r < 0;
        id->o.handler(&l->fact, &l->result, id->o.userdata);
        look_free(job);
}

/* What can be read of the executable without waiting. */
static int read_exe(const struct identify *id, struct look *l)
{
        _cleanup_fd_ int fd = openat(l->proc, "exe", O_RDONLY | O_CLOEXEC);
        int r;

        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        r = content_read(fd, &l->exe);
        if (r == 0 && l->exe.ino != l->fact.exe_ino)
                return -ESRCH;
        if (r == 0 && known_has_size(known_of(id), l->exe.size))
                r = content_add_print(fd, &l->exe, NULL);
        l->has_exe = r == 0;
        return r;
}

/* 1: in the thread. */
static int look_now(struct identify *id, struct look *l)
{
        enum host host;
        int r;

        r = proc_open(l->fact.tgid, l->fact.boottime_ns, &l->proc);
        if (r < 0)
                return r;
        if (l->fact.exe_ino == 0) /* bpf/exec.bpf.c: a file system in user space */
                return submit(id, l, LOOK_AT_EXE);
        r = read_exe(id, l);
        if (r < 0)
                return r;
        if (id->has_sha256 && match_content(id, &l->exe, &host) == 0 && host == HOST_NONE) {
                if (!l->fact.exe_may_differ)
                        recall_sha256(id, &l->exe);
                if (!l->exe.sha256[0] && l->exe.size <= CONTENT_HASH_MAX)
                        return submit(id, l, LOOK_AT_EXE);
        }
        return judge_exe(id, l);
}

static int refresh(struct identify *id, bool rules_changed)
{
        const struct learn_options *o = id->o.learn ? id->o.learn : &this_machine;
        uint64_t stamp = known_stamp(o);
        struct known *known = NULL;
        bool same;
        int r;

        if (!rules_changed && stamp == id->stamp)
                return 0;
        r = known_learn(o, id->rules, &known);
        if (r < 0) {
                if (rules_changed)
                        id->known = known_free(id->known); /* of the rule set before */
                return r;
        }
        id->stamp = stamp;
        same = id->known && known_is_same(id->known, known);
        known_free(id->known);
        id->known = known;
        if (!same && id->o.changed)
                id->o.changed(id->o.userdata);
        return 0;
}

/* Of the same catalogue: what was learnt still says the same. */
static bool has_same_entries(const struct ruleset *a, const struct ruleset *b)
{
        bool same = a && a->n_entries == b->n_entries && a->n_channels == b->n_channels;

        for (size_t i = 1; same && i < a->n_entries; i++)
                same = a->entries[i].kind == b->entries[i].kind && a->entries[i].channel == b->entries[i].channel &&
                       (!a->entries[i].value || strcmp(a->entries[i].value, b->entries[i].value) == 0);
        return same;
}

int identify_set_rules(struct identify *id, const struct ruleset *r)
{
        bool same = has_same_entries(id->rules, r);

        id->rules = r;
        id->has_sha256 = rules_has(r, ENTRY_SHA256);
        id->has_argv = rules_has(r, ENTRY_PROGRAM_ARGV);
        return refresh(id, !same || !id->known);
}

uint32_t identify_content(struct identify *id, const struct content *c)
{
        enum host host;

        (void)refresh(id, false); /* what was known before still helps */
        return match_content(id, c, &host);
}

int identify_exec(struct identify *id, struct fact *f, struct classification *c)
{
        struct look *l = calloc(1, sizeof(*l));
        int r;

        if (!l)
                return -ENOMEM;
        l->proc = -1;
        l->fact = *f;
        l->result = *c;
        r = refresh(id, false);
        if (r == 0)
                r = look_now(id, l);
        if (r > 0) {
                c->pending = true;
                return 0;
        }
        *c = l->result;
        c->gone |= r == -ESRCH;
        strcpy(f->path, l->fact.path);
        look_free(&l->job);
        return r == -ESRCH ? 0 : r;
}

int identify_new(sd_event *event, const struct identify_options *o, struct identify **ret)
{
        _cleanup_identify_ struct identify *id = calloc(1, sizeof(*id));
        const struct worker_options w = {
                .run = look_run, .done = on_looked, .drop = look_free, .userdata = id, .max = LOOKS_MAX};
        int r;

        if (!id)
                return -ENOMEM;
        id->o = *o;
        r = worker_new(event, &w, &id->worker);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(id);
        return 0;
}

struct identify *identify_free(struct identify *id)
{
        if (!id)
                return NULL;
        worker_free(id->worker);
        known_free(id->known);
        free(id);
        return NULL;
}
