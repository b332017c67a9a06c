/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/daemon.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "agent/runtime.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

static struct watch_options watch_options_of(const struct config *c, bool no_lsm)
{
        return (struct watch_options){
                .bpffs = c->bpffs, .cgroup = c->cgroup, .mark_mask = c->mark_mask, .no_lsm = no_lsm};
}

/* One sentence that says what is missing. */
static int check_machine(const struct config *c)
{
        struct watch_options o = watch_options_of(c, false);
        char reason[512] = "";
        int r;

        if (geteuid() != 0) {
                log_line(LOG_ERR, "onchanneld must run as root: start it with 'systemctl start onchannel' or sudo");
                return -EPERM;
        }
        r = watch_check(&o, reason, sizeof(reason));
        if (r >= 0)
                r = nft_check(reason, sizeof(reason));
        if (r < 0)
                log_line(LOG_ERR, "%s", *reason ? reason : strerror(-r));
        return r;
}

static int uplink_group(const struct config *c)
{
        const struct group *g = getgrnam(c->uplink_group);

        if (!g)
                log_line(LOG_WARNING, "group '%s' does not exist: no uplink can read the spool", c->uplink_group);
        return g ? (int)g->gr_gid : -1;
}

static int on_end(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
        return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16];
        struct diag d = {0};
        int r;

        r = reload_all(userdata, &d);
        if (r < 0)
                log_errno(LOG_ERR, r, "reload failed: %s", diag_format_log(&d, where, sizeof(where)));
        return 0;
}

/* Looks at all of it only at the start and when the collector has the last record. */
static void tend_aside(struct runtime *rt)
{
        struct report_options o = {.state_dir = rt->config->state, .boot_id = rt->lastrun.boot_id};
        uint64_t before = rt->aside_left;
        int r;

        o.group = uplink_group(rt->config);
        r = aside_tend(&o, &rt->aside_left);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot tend '%s/aside', ignoring", rt->config->state);
        else if (rt->aside_left > 0)
                log_line(LOG_NOTICE, "records of an earlier key wait in '%s/aside' for the collector",
                         rt->config->state);
        else if (before > 0)
                log_line(LOG_NOTICE, "the collector has all records of the earlier key");
}

void aside_look(struct runtime *rt)
{
        _cleanup_free_ char *path = format_new("%s/uplink/" ASIDE_ACK, rt->config->state);
        uint64_t seq;

        if (rt->aside_left > 0 && path && file_read_number(path, &seq) == 0 && seq >= rt->aside_left)
                tend_aside(rt);
}

static int on_uplink(sd_event_source *s, const struct inotify_event *e, void *userdata)
{
        struct runtime *rt = userdata;
        int r = 0;

        if (e->len && !strcmp(e->name, ASIDE_ACK))
                aside_look(rt);
        if (!e->len || (strcmp(e->name, "ack") && strcmp(e->name, "problem")))
                return 0;
        if (!strcmp(e->name, "ack"))
                r = report_read_ack(rt->report);
        if (r < 0 && r != -ENOENT)
                log_errno(LOG_WARNING, r, "cannot read the collector's acknowledgement, ignoring");
        status_dirty(rt);
        return 0;
}

/* Runs as the loop's last source, while records can still be written. */
static int on_exit_loop(sd_event_source *s, void *userdata)
{
        struct runtime *rt = userdata;
        int r;

        sd_notify(0, "STOPPING=1");
        ring_drain(rt);
        health_coverage(rt, COVERAGE_STOP, 0, rt->release ? "enforcement taken off" : "enforcement goes on");
        rt->lastrun.stopped = true;
        lastrun_stamp(&rt->lastrun);
        r = lastrun_write(rt->config->state, &rt->lastrun);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot write '%s/last-run', ignoring", rt->config->state);
        return 0;
}

static int add_sources(struct runtime *rt)
{
        _cleanup_free_ char *uplink = format_new("%s/uplink", rt->config->state);
        sd_event_source *ack;
        int r;

        r = uplink ? 0 : -ENOMEM;
        if (r >= 0)
                r = sd_event_add_signal(rt->event, NULL, SIGTERM, on_end, rt);
        if (r >= 0)
                r = sd_event_add_signal(rt->event, NULL, SIGINT, on_end, rt);
        if (r >= 0)
                r = sd_event_add_signal(rt->event, NULL, SIGHUP, on_hangup, rt);
        if (r >= 0)
                r = sd_event_add_exit(rt->event, NULL, on_exit_loop, rt);
        if (r >= 0)
                r = ring_start(rt);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot set the event loop up");
        r = sd_event_add_inotify(rt->event, &ack, uplink, IN_MOVED_TO | IN_DELETE | IN_ONLYDIR, on_uplink, rt);
        if (r < 0)
                return guard_poll(rt, uplink, r);
        sd_event_source_set_priority(ack, PRIORITY_TELEMETRY);
        sd_event_source_set_floating(ack, true);
        sd_event_source_unref(ack);
        return 0;
}

static int new_event(struct runtime *rt)
{
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        r = sd_event_new(&rt->event);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot make an event loop");
        r = sd_event_set_watchdog(rt->event, true);
        return r < 0 ? log_errno(LOG_ERR, r, "cannot use the watchdog") : 0;
}

static int open_report(struct runtime *rt)
{
        struct report_options o = {.state_dir = rt->config->state,
                                   .runtime_dir = rt->config->runtime,
                                   .device_name = rt->config->device};
        int r;

        o.boot_id = rt->lastrun.boot_id;
        o.group = uplink_group(rt->config);
        r = folders_make(rt->config, o.group, rt->damaged);
        if (r < 0)
                return r;
        r = report_new(&o, rt->event, &rt->report);
        if (r == -EBUSY)
                return log_errno(LOG_ERR, r, "another agent uses '%s'", rt->config->state);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot open the spool in '%s'", rt->config->state);
        report_set_notice_handler(rt->report, answer_notice, rt);
        tend_aside(rt);
        release_forget(rt->config);
        return 0;
}

/* Linux 5.14 */
static uint64_t own_netns_cookie(void)
{
        _cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        uint64_t cookie = 0;
        socklen_t size = sizeof(cookie);

        if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
                return 0;
        return cookie;
}

static int open_packets(struct runtime *rt)
{
        int r;

        r = refuse_new(&rt->refuse);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot answer dropped DNS queries; they get no answer");
        r = hellos_new(&rt->hellos);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot read QUIC");
        watch_set_packet_handler(rt->watch, packets_handle, rt);
        return 0;
}

/* A kernel without CONFIG_INET_DIAG_DESTROY says so whatever the socket. */
static bool can_end_sockets(struct runtime *rt)
{
        const struct fact_flow nobody = {.family = AF_INET, .protocol = IPPROTO_TCP};
        int r;

        r = sockdestroy_new(&rt->sockdestroy);
        if (r >= 0)
                r = sockdestroy_flow(rt->sockdestroy, &nobody, 0);
        if (r >= 0 || r == -ENOENT)
                return true;
        log_errno(LOG_WARNING, r, "this kernel cannot end sockets; connections are reset by nftables");
        return false;
}

static int open_enforcement(struct runtime *rt, const struct daemon_options *d)
{
        struct watch_options wo = watch_options_of(rt->config, d->no_lsm);
        struct nft_options no = {.table = rt->config->table, .mark_mask = rt->config->mark_mask};
        bool pinned = false;
        int r;

        r = watch_new(&wo, facts_handle, rt, &rt->watch, &pinned);
        if (r == -EBUSY)
                return log_errno(LOG_ERR, r, "another agent uses '%s'", rt->config->bpffs);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot load the eBPF programs");
        if (pinned)
                log_line(LOG_INFO, "took over what an earlier agent had left in '%s'", rt->config->bpffs);
        rt->netns_cookie = own_netns_cookie();
        no.flows = !can_end_sockets(rt);
        r = nft_new(&no, &rt->nft);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot talk to nftables");
        return open_packets(rt);
}

static int open_identify(struct runtime *rt)
{
        const struct identify_options o = {.handler = facts_identified, .changed = facts_learnt, .userdata = rt};
        int r = identify_new(rt->event, &o, &rt->identify);

        return r < 0 ? log_errno(LOG_ERR, r, "cannot start looking at programs") : 0;
}

void control_open(struct runtime *rt)
{
        struct control_handlers h = {.answer = answer, .my_data = answer_my_data, .userdata = rt};
        _cleanup_free_ char *path = format_new("%s/control.sock", rt->config->runtime);
        int r;

        r = path ? control_new(path, rt->event, &h, &rt->control) : -ENOMEM;
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot listen on '%s', trying again", path ? path : "control.sock");
}

/* The agent before this one: numbering to go on from, and how long nobody watched the watcher. */
static uint64_t recall_last_run(struct runtime *rt)
{
        struct lastrun last = {0};
        int r;

        r = lastrun_read(rt->config->state, &last);
        lastrun_stamp(&rt->lastrun);
        rt->cause = lastrun_cause(r >= 0 ? &last : NULL, &rt->lastrun);
        if (r == -ENOENT)
                return 0;
        if (r < 0) {
                log_errno(LOG_WARNING, r, "cannot read '%s/last-run', ignoring", rt->config->state);
                return 0;
        }
        if (strcmp(last.version, rt->lastrun.version) != 0)
                strcpy(rt->version_before, *last.version ? last.version : "an older version");
        rt->last_generation = last.generation;
        rt->same_numbers_since = last.same_numbers_since;
        strcpy(rt->lastrun.catalogue_hash, last.catalogue_hash);
        return lastrun_gap_ms(&last, &rt->lastrun);
}

static void tell_tamper(struct runtime *rt, const char *text)
{
        log_line(LOG_ERR, "%s", text);
        report_tamper(rt->report, text, OUTCOME_PASSED);
}

/* What was set aside stays for who looks into it; records of the spool are lost to the chain. */
static void tell_damage(struct runtime *rt)
{
        struct report_state s = {0};
        char text[FOLDERS_DAMAGED_MAX + 64];

        report_get_state(rt->report, &s);
        if (*rt->damaged) {
                snprintf(text, sizeof(text), "the state folder was damaged; set aside as *.damaged: %s", rt->damaged);
                tell_tamper(rt, text);
        }
        if (s.is_new_device)
                tell_tamper(rt,
                            "the device key was damaged: key and spool are set aside as *.damaged, and this is a new "
                            "device, to be enrolled again");
        if (s.torn_bytes > 0)
                log_line(LOG_WARNING, "the spool ended in the middle of a record; %llu bytes were cut off",
                         (unsigned long long)s.torn_bytes);
        if (s.damaged_bytes == 0)
                return;
        snprintf(text, sizeof(text), "the spool was damaged: %llu bytes of it are set aside as *.damaged",
                 (unsigned long long)s.damaged_bytes);
        tell_tamper(rt, text);
}

/* A start that went well is one to come back to. */
static void tell_config(struct runtime *rt)
{
        char where[DIAG_FILE_MAX + DIAG_TEXT_MAX + 16], text[sizeof(where) + 64];
        int r = config_keep(rt->config);

        rt->is_config_kept = r >= 0;
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot keep the configuration in '%s', ignoring", rt->config->state);
        if (!rt->config_refused)
                return;
        snprintf(text, sizeof(text), "configuration refused, that of the last start is in force: %s",
                 diag_format_log(rt->config_refused, where, sizeof(where)));
        log_line(LOG_ERR, "%s", text);
        health_coverage(rt, COVERAGE_REFUSED, 0, text);
}

static void tell_start(struct runtime *rt, uint64_t gap_ms)
{
        char text[2 * LASTRUN_VERSION + 16];

        tell_damage(rt);
        if (gap_ms > 0) {
                snprintf(text, sizeof(text), "the agent did not run for at most %llu s; what it had attached went on",
                         (unsigned long long)(gap_ms + 999) / 1000);
                log_line(LOG_WARNING, "%s", text);
                health_coverage(rt, COVERAGE_GAP, gap_ms, text);
        }
        if (*rt->version_before)
                snprintf(text, sizeof(text), "%s, before: %s", rt->lastrun.version, rt->version_before);
        health_coverage(rt, COVERAGE_START, 0, *rt->version_before ? text : NULL);
        tell_config(rt);
}

/* Not incoming/ and uplink/: the uplink and the command line write there. */
static int arm(struct runtime *rt)
{
        _cleanup_free_ char *policy = format_new("%s/policy", rt->config->state);
        _cleanup_free_ char *catalogue = format_new("%s/catalogue", rt->config->state);
        _cleanup_free_ char *spool = format_new("%s/spool", rt->config->state);
        _cleanup_free_ char *exemptions = format_new("%s/exemptions", rt->config->state);
        const char *const folders[] = {rt->config->state, policy, catalogue, spool, exemptions,
                                       rt->config->bpffs, NULL};

        return policy && catalogue && spool && exemptions ? watch_arm(rt->watch, folders) : -ENOMEM;
}

static int start(struct runtime *rt, const struct daemon_options *o)
{
        uint64_t gap_ms;
        int r;

        gap_ms = recall_last_run(rt);
        r = new_event(rt);
        if (r >= 0)
                r = open_report(rt);
        if (r >= 0)
                r = open_enforcement(rt, o);
        if (r >= 0)
                r = open_identify(rt);
        if (r >= 0)
                r = browsers_start(rt);
        if (r >= 0)
                r = accounts_new(rt->event, reload_accounts, rt, &rt->accounts);
        if (r >= 0)
                r = reload_start(rt);
        if (r < 0)
                return r;
        r = watch_attach(rt->watch);
        if (r < 0)
                return log_errno(LOG_ERR, r, "cannot attach the sensors");
        r = arm(rt);
        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot defend the agent by BPF LSM");
        rt->self_test_passed = canary_probe(rt) != CANARY_PASSED;
        tell_start(rt, gap_ms);
        r = add_sources(rt);
        if (r >= 0)
                r = health_start(rt);
        if (r >= 0)
                r = guard_start(rt);
        if (r < 0)
                return r;
        control_open(rt);
        return reload_watch_incoming(rt);
}

static int remove_table(struct nft *n, const char *table)
{
        int r = nft_remove(n);

        return r < 0 ? log_errno(LOG_ERR, r, "cannot remove the nftables table '%s'", table) : 0;
}

static void runtime_done(struct runtime *rt)
{
        _cleanup_free_ char *status = format_new("%s/status.json", rt->config->runtime);

        if (rt->control && status)
                unlink(status);
        control_free(rt->control);
        sd_event_source_disable_unref(rt->on_change);
        sd_event_source_disable_unref(rt->on_status);
        sd_event_source_disable_unref(rt->on_applied);
        sd_event_source_disable_unref(rt->on_settle);
        sd_event_source_disable_unref(rt->on_heartbeat);
        running_end(rt);
        ring_end(rt);
        sd_event_source_disable_unref(rt->on_check);
        sd_event_source_disable_unref(rt->on_state);
        sd_event_source_disable_unref(rt->on_clock);
        for (enum guarded g = 0; g < _GUARDED_MAX; g++)
                sd_event_source_disable_unref(rt->on_folder[g]);
        rt->control = NULL;
        identify_free(rt->identify);
        sd_event_source_disable_unref(rt->on_term_boot);
        sd_event_source_disable_unref(rt->on_term_wall);
        accounts_free(rt->accounts);
        if (rt->exemptions)
                exemptions_save(rt->exemptions);
        exemptions_free(rt->exemptions);
        browsers_end(rt);
        report_free(rt->report);
        if (rt->watch && rt->lastrun.stopped)
                watch_disarm(rt->watch); /* told to end: a package may be upgraded, or the agent removed */
        watch_free(rt->watch, rt->release);
        if (rt->nft && rt->release)
                remove_table(rt->nft, rt->config->table);
        nft_free(rt->nft);
        sockdestroy_free(rt->sockdestroy);
        refuse_free(rt->refuse);
        hellos_free(rt->hellos);
        store_free(rt->store);
        ruleset_free(rt->current);
        ruleset_free(rt->previous);
        sd_event_unref(rt->event);
}

int daemon_run(const struct config *c, const struct daemon_options *o)
{
        struct runtime rt = {.config = c,
                             .config_refused = o->refused,
                             .release = o->release,
                             .log_rate.room = LOG_ROOM_MS,
                             .refused_rate.room = REFUSED_ROOM_S};
        int r;

        rt.started_ms = clock_boottime_ms();
        rt.slept_told_ms = clock_slept_ms();
        r = check_machine(c);
        if (r < 0)
                return r;
        r = start(&rt, o);
        if (r >= 0) {
                sd_notify(0, "READY=1");
                log_line(LOG_INFO, "ready: %s", watch_sensors(rt.watch));
                r = sd_event_loop(rt.event);
        }
        runtime_done(&rt);
        return r;
}

static bool is_running(const struct config *c)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(a.sun_path, sizeof(a.sun_path), "%s/control.sock", c->runtime);
        return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static void ignore_fact(const struct fact *f, void *userdata)
{
}

int daemon_release(const struct config *c)
{
        struct watch_options wo = watch_options_of(c, false);
        struct nft_options no = {.table = c->table, .mark_mask = c->mark_mask};
        struct watch *w = NULL;
        struct nft *n = NULL;
        bool pinned;
        int r, q;

        if (is_running(c)) {
                log_line(LOG_ERR, "the agent is running: end it first");
                return -EBUSY;
        }
        r = watch_new(&wo, ignore_fact, NULL, &w, &pinned);
        if (r < 0)
                log_errno(LOG_ERR, r, "cannot take the eBPF programs off");
        else
                watch_free(w, true);
        q = nft_new(&no, &n);
        q = q < 0 ? log_errno(LOG_ERR, q, "cannot talk to nftables") : remove_table(n, c->table);
        nft_free(n);
        r = r < 0 ? r : q;
        q = browsers_remove(c);
        if (r >= 0)
                r = release_record(c);
        return r < 0 ? r : q;
}
