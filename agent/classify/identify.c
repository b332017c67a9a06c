/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "agent/classify/identify.h"
#include "agent/classify/look.h"
#include "agent/classify/looker.h"
#include "agent/classify/proc.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define HASHED_MAX 128 /* files whose SHA-256 is remembered */
#define SETTLED_NS 3000000000ull /* a younger file may still change within one tick of the clock (FAT: 2 s) */

static const struct learn_options this_machine = {.root = "", .dpkg = "/var/lib/dpkg", .rpm = "/var/lib/rpm"};

struct identify {
        struct identify_options o;
        struct looker *looker;
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

/* It may still be what the fact tells of, or something else by now. */
static bool is_still(const struct look *l)
{
        char path[FACT_PATH_MAX];
        struct stat st;

        if (l->fact.exe_may_differ)
                return proc_exe_path(l->proc, path, sizeof(path)) != -ESRCH;
        return proc_stat_exe(l->proc, &st) == 0 && (l->fact.exe_ino == 0 || l->fact.exe_ino == st.st_ino);
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
        return id->has_sha256 || known_of(id)->n_channels || host_is_loader(l->host) ||
               (id->has_argv && look_may_be_chromium(l));
}

/* *ret: what that runs in its turn, by its content. */
static void judge_file(struct identify *id, struct look *l, enum host *ret)
{
        struct host_match m = {};
        uint32_t entry = 0;

        *ret = HOST_NONE;
        for (size_t i = 0; entry == 0 && i < l->n_contents; i++)
                entry = match_content(id, &l->contents[i], ret);
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

/* Python's NAME.PART is NAME/PART.py, or what a folder of that name has. */
static void dots_to_slashes(char *name)
{
        for (char *p = name; (p = strchr(p, '.'));)
                *p = '/';
}

static bool name_file(struct look *l, const struct host_target *t)
{
        if (!classify_target(l->proc, t, l->relative, l->file) || !l->file[0])
                return false;
        if (t->role == HOST_MODULE) {
                char *base = strrchr(l->file, '/');

                dots_to_slashes(base ? base : l->file);
                dots_to_slashes(l->relative);
        }
        if (l->relative[0] == '/' || t->is_windows)
                l->relative[0] = '\0';
        return true;
}

/* Each file that the arguments make it run, up to the one behind which the rest is data. */
static void look_at_arguments(struct identify *id, struct look *l)
{
        _cleanup_cmdline_ struct proc_cmdline c = {};
        enum host inner;
        struct host_target t;
        struct host_walk w;

        if (proc_cmdline(l->proc, &c) < 0)
                return;
        host_begin(&w, l->host, c.argv);
        for (size_t n = 0; n < LOOK_FILES_MAX && host_next(&w, &t); n++) {
                if (!name_file(l, &t))
                        continue;
                look_at_file(l);
                judge_file(id, l, &inner);
                if (l->result.entry || (t.role == HOST_MAYBE && l->n_contents > 0))
                        return;
                if (host_is_loader(w.host)) { /* its program may be a host, by name or by content */
                        l->host = inner != HOST_NONE ? inner : host_of(l->file);
                        host_begin(&w, l->host, w.argv + t.at);
                }
        }
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
        if (!l->may_wait)
                return 1;
        if (l->is_beside) {
                look_at_file(l);
                judge_file(id, l, &host);
        } else {
                look_at_arguments(id, l);
        }
        return 0;
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

/* What can be read of the executable without waiting. */
static int read_exe(const struct identify *id, struct look *l)
{
        _cleanup_fd_ int fd = proc_open_exe(l->proc);
        int r;

        if (fd < 0)
                return fd;
        r = content_read(fd, &l->exe);
        if (r == 0 && l->fact.exe_ino != 0 && l->exe.ino != l->fact.exe_ino && !l->fact.exe_may_differ)
                return -ESRCH;
        if (r == 0 && known_has_size(known_of(id), l->exe.size))
                r = content_add_print(fd, &l->exe, NULL);
        l->has_exe = r == 0;
        return r;
}

/* Only who runs it knows how long its files take to read. */
static bool is_foreign(const struct look *l)
{
        struct stat exe;

        return proc_is_elsewhere(l->proc) || (proc_stat_exe(l->proc, &exe) == 0 && exe.st_ino == 0);
}

/* All of it, also what takes long. */
static int read_whole_exe(struct identify *id, struct look *l)
{
        if (!l->may_wait)
                return 1;
        if (l->fact.exe_ino == 0 && !is_foreign(l) && read_exe(id, l) == 0)
                recall_sha256(id, &l->exe);
        look_at_exe(l);
        remember_sha256(id, &l->exe);
        return judge_exe(id, l);
}

/* What runs is in memory, whatever its file system says of it, or does not say. */
static bool is_known_by_memory(struct identify *id, struct look *l)
{
        enum host host;
        uint32_t entry;

        look_at_memory(l);
        entry = match_content(id, &l->exe, &host);
        if (entry)
                found(id, l, entry, false);
        l->exe = (struct content){};
        return entry;
}

/* 1: it takes longer. */
static int look_now(struct identify *id, struct look *l)
{
        enum host host;
        int r;

        if (l->fact.exe_may_differ && l->may_wait && is_known_by_memory(id, l))
                return 0;
        if (l->fact.exe_ino == 0) /* found running; bpf/exec.bpf.c: a file system in user space */
                return read_whole_exe(id, l);
        r = read_exe(id, l);
        if (r < 0)
                return r;
        if (id->has_sha256 && match_content(id, &l->exe, &host) == 0 && host == HOST_NONE) {
                if (!l->fact.exe_may_differ)
                        recall_sha256(id, &l->exe);
                if (!l->exe.sha256[0] && l->exe.size <= CONTENT_HASH_MAX)
                        return read_whole_exe(id, l);
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
                if (rules_changed) {
                        id->known = known_free(id->known); /* of the rule set before */
                        looker_renew(id->looker);
                }
                return r;
        }
        id->stamp = stamp;
        same = id->known && known_is_same(id->known, known);
        known_free(id->known);
        id->known = known;
        if (!same && id->o.changed)
                id->o.changed(id->o.userdata);
        if (!same || rules_changed) /* three forks: not when children's copies say the same */
                looker_renew(id->looker);
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

int identify_exec(struct identify *id, struct fact *f, struct classification *c, bool may_wait)
{
        _cleanup_free_ struct look *l = calloc(1, sizeof(*l));
        _cleanup_fd_ int proc = -1;
        int r;

        if (!l)
                return -ENOMEM;
        r = proc_open(f->tgid, f->boottime_ns, &proc);
        l->proc = proc;
        l->fact = *f;
        l->result = *c;
        l->may_wait = may_wait;
        l->want_sha256 = id->has_sha256;
        if (r == 0)
                r = look_now(id, l);
        *c = l->result;
        c->pending = r > 0;
        c->is_foreign = c->pending && is_foreign(l);
        c->gone = r == -ESRCH || (r <= 0 && !is_still(l));
        c->look_at_argv |= r < 0;
        strcpy(f->path, l->fact.path);
        return r == -ESRCH || r > 0 ? 0 : r;
}

static int look(enum lane lane, struct fact *f, struct classification *c, void *userdata)
{
        struct identify *id = userdata;
        _cleanup_fd_ int proc = -1;
        int r;

        /* found running: nobody has said where it lies */
        if (f->exe_ino == 0 && proc_open(f->tgid, f->boottime_ns, &proc) == 0 && proc_is_elsewhere(proc)) {
                f->exe_may_differ = true;
                c->pending = c->is_foreign = lane == LANE_QUICK;
                if (c->pending)
                        return 0;
        }
        r = classify_exec(id->rules, f, c);
        return r < 0 || c->channel || c->gone ? r : identify_exec(id, f, c, lane != LANE_QUICK);
}

/* What a quick look has left to a longer one. */
static int look_longer(struct identify *id, struct fact *f, struct classification *c)
{
        enum lane lane = c->is_foreign ? LANE_FOREIGN : LANE_SLOW;
        int r;

        *c = (struct classification){};
        r = looker_ask(id->looker, lane, f, c);
        c->pending = r > 0;
        return r < 0 ? r : 0;
}

static void on_looked(int r, struct fact *f, const struct classification *c, void *userdata)
{
        struct identify *id = userdata;
        struct classification longer = *c;

        if (r == 0 && c->pending)
                r = look_longer(id, f, &longer);
        if (!longer.pending)
                id->o.handler(r, f, &longer, id->o.userdata);
}

int identify_start(struct identify *id, struct fact *f, struct classification *c)
{
        int r;

        (void)refresh(id, false); /* what was known before still helps */
        *c = (struct classification){};
        r = looker_ask(id->looker, f->exe_may_differ ? LANE_FOREIGN : LANE_QUICK, f, c);
        if (r == 0 && c->pending)
                return look_longer(id, f, c);
        c->pending = r > 0;
        return r < 0 ? r : 0;
}

int identify_new(sd_event *event, const struct identify_options *o, struct identify **ret)
{
        _cleanup_identify_ struct identify *id = calloc(1, sizeof(*id));
        const struct looker_options l = {.look = look, .done = on_looked, .userdata = id};
        int r;

        if (!id)
                return -ENOMEM;
        id->o = *o;
        r = looker_new(event, &l, &id->looker);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(id);
        return 0;
}

struct identify *identify_free(struct identify *id)
{
        if (!id)
                return NULL;
        looker_free(id->looker);
        known_free(id->known);
        free(id);
        return NULL;
}
