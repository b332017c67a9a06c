/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The running daemon: the modules wired together, and which rule set is in force. One
 * thread, sd-event; enforcement comes before control, control before telemetry. Shared by
 * the agent's own files only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include "agent/state/accounts.h"
#include "agent/browser/browser.h"
#include "agent/classify/hellos.h"
#include "agent/classify/identify.h"
#include "agent/state/config.h"
#include "agent/control/control.h"
#include "agent/enforce/nft.h"
#include "agent/enforce/refusal.h"
#include "agent/enforce/sockdestroy.h"
#include "agent/state/exemptions.h"
#include "agent/fact.h"
#include "agent/state/lastrun.h"
#include "agent/report/report.h"
#include "agent/state/store.h"
#include "agent/watch/watch.h"
#include "base/buf.h"
#include "base/rate.h"

#define PRIORITY_ENFORCEMENT SD_EVENT_PRIORITY_IMPORTANT
#define PRIORITY_CONTROL     SD_EVENT_PRIORITY_NORMAL
#define PRIORITY_TELEMETRY   SD_EVENT_PRIORITY_IDLE

struct refusal { /* the last file that was refused and not replaced by an accepted one */
        struct diag diag;
        char hash[STORE_HASH_TEXT]; /* "" nothing was refused */
        time_t when; /* the latest time */
        unsigned times;
};

enum canary_result { CANARY_UNPROVEN, CANARY_BLOCKED, CANARY_PASSED };

struct canary {
        enum canary_result result;
        time_t when; /* 0: never probed */
        uint32_t generation; /* of the rule set that was probed */
        uint32_t pid; /* of the latest probe */
        bool seen; /* the kernel dropped it */
};

#define REQUESTS_MAX        64 /* for exemptions, remembered */
#define LOG_ROOM_MS         60000 /* of lines about violations */
#define REFUSED_ROOM_S      3600 /* of exemptions that were refused by the socket */
#define EXEMPT_NEWS_MAX     16
#define EXEMPT_REFUSED_MAX  8
#define FOLDERS_DAMAGED_MAX 256

struct exempt_news { /* of exemptions, until the rule set has followed */
        enum coverage_event event;
        char text[640];
};

struct request_seen {
        uid_t uid;
        uint64_t at; /* CLOCK_BOOTTIME in seconds, 0 none */
};

enum tamper { /* what somebody interfered with; each kind is reported once a minute */
              TAMPER_TABLE,
              TAMPER_SENSORS,
              TAMPER_STATE,
              TAMPER_SPOOL, /* with records lost */
              _TAMPER_MAX,
};

enum guarded { /* folders of the agent's own */
               GUARDED_STATE,
               GUARDED_POLICY,
               GUARDED_SPOOL,
               GUARDED_PINS,
               _GUARDED_MAX,
};

struct runtime_counters { /* since the agent started */
        uint64_t facts;
        uint64_t killed;
        uint64_t reset;
        uint64_t stale; /* facts of a rule set that is gone */
        uint64_t restored; /* somebody interfered */
        uint64_t browsers_restored; /* somebody else changed a browser's policy */
};

/* Over all processes, in pieces: what ran when a rule set came into force, and what could not be looked at when it started. */
struct walk {
        struct buf tgids; /* of uint32_t; empty: none is under way */
        size_t next;
        bool is_looking; /* at one of them */
        bool is_full; /* that one has to wait for room */
        bool is_another; /* started meanwhile */
        bool is_unread; /* what a loader is to run, since the latest walk began */
        uint64_t unread_us; /* how long to wait for it */
        uint64_t lost; /* watch_counters.lost, as of the last look for what they were */
};

struct runtime {
        const struct config *config;
        const struct diag *config_refused; /* another one is on disk, NULL it is not */
        bool is_config_kept;
        bool release; /* take enforcement off at the end */
        sd_event *event;
        struct store *store;
        struct watch *watch;
        struct nft *nft;
        struct sockdestroy *sockdestroy; /* NULL: this kernel cannot */
        struct identify *identify;
        struct refuse *refuse; /* NULL: no raw sockets here */
        struct hellos *hellos; /* NULL: libcrypto lacks something */
        struct report *report;
        uint64_t aside_left; /* number of the last record in STATE/aside that the collector lacks, 0 none */
        struct control *control;
        struct browser *browser; /* NULL: browsers are not managed */
        struct browser_state browsers;
        sd_event_source *on_browser[BROWSER_FOLDERS_MAX], *on_browsers_settled;
        uint64_t browser_tamper_us;
        uint64_t netns_cookie; /* of this network namespace, 0 unknown */

        struct ruleset *current, *previous;
        uint32_t generation, previous_generation, last_generation;
        uint32_t same_numbers_since; /* generations from here on number channels as `current` does */

        struct refusal refused[_STORE_ROLE_MAX];
        struct accounts *accounts;
        struct exemptions *exemptions;
        struct exempt_news exempt_news[EXEMPT_NEWS_MAX];
        struct refusal exempt_refused[EXEMPT_REFUSED_MAX]; /* the latest, in turn */
        size_t n_exempt_news, n_exempt_refused;
        struct request_seen requests[REQUESTS_MAX]; /* in turn */
        size_t n_requests;
        sd_event_source *on_term_boot, *on_term_wall;
        struct runtime_counters counters;
        struct lastrun lastrun;
        char damaged[FOLDERS_DAMAGED_MAX]; /* what was set aside at the start, "" nothing */
        char table_hash[65]; /* of the table as applied; "" unknown */
        bool is_table_settled; /* nothing is left of what was there before, and the hash is known */
        bool self_test_passed;
        bool went_back; /* a policy or catalogue failed its self-test and is tried again with the next heartbeat */
        struct canary canary;
        uint64_t started_ms; /* CLOCK_BOOTTIME */
        struct walk walk;
        uint64_t ring_since_us; /* CLOCK_MONOTONIC: read then, and some have had no turn since; 0: all have */
        uint64_t slept_told_ms; /* clock_slept_ms(), as coverage has it */
        uint64_t slept_ms; /* since the agent started */
        const char *cause; /* of this start: lastrun_cause() */
        char version_before[LASTRUN_VERSION]; /* when that was another one, else "" */
        uint64_t tamper_reported_us[_TAMPER_MAX];
        struct rate log_rate, refused_rate; /* of violations, of exemptions that somebody brought */
        uint64_t unlogged;
        bool told_refused; /* that the spool takes no records */
        const char *coverage_detail; /* of the next COVERAGE_POLICY */

        int64_t clock_offset_ms; /* UTC minus time since boot */
        uint64_t checked_us; /* CLOCK_MONOTONIC, of the latest look */
        bool is_polling; /* guard_poll() */
        bool state_bytes; /* a segment of the spool may have been changed */

        sd_event_source *on_check, *on_state, *on_clock, *on_folder[_GUARDED_MAX];
        sd_event_source *on_change, *on_status, *on_applied, *on_settle, *on_heartbeat, *on_running,
                *on_running_again, *on_ring, *on_ring_pause, *on_ring_turn;
};

/* ---- folders.c: the agent's folders ---- */
/* Makes them, and sets aside what must be a folder and is none, or a file and is none; logs. `gid`: of the uplink, -1 none. */
int folders_make(const struct config *c, int gid, char ret_damaged[static FOLDERS_DAMAGED_MAX]);

/* ---- runtime.c: the rule set ---- */
struct runtime_extra { /* what a rule set depends on besides policy and catalogue; all of it may be absent */
        time_t now; /* store_time() */
        const struct accounts_answer *accounts;
        const struct rules_grant *grants;
        size_t n_grants;
        bool monitor; /* a break-glass token is in force */
};
/* Compile without applying, as apply would. `policy` may be NULL. */
int runtime_compile(const struct config *c, const struct stored *policy, const struct stored *catalogue,
                    const struct runtime_extra *x, struct ruleset **ret, struct diag *reterr);
/* The names that NSS is to be asked for. */
int runtime_names(const struct stored *policy, const struct exemptions *x, struct accounts_names *ret);
/* Make one rule set of the two hold everywhere; on failure the one in force stays. */
int runtime_apply(struct runtime *rt, const struct stored *policy, const struct stored *catalogue,
                  struct diag *reterr);
/* Rule set of a fact, NULL when its numbers mean nothing any more. */
const struct ruleset *runtime_ruleset(const struct runtime *rt, uint32_t generation);

/* ---- reload.c: policy and catalogue from disk ---- */
int reload_start(struct runtime *rt); /* what was in force when the agent ended */
int reload_watch_incoming(struct runtime *rt); /* and take what lies there */
void reload_look(struct runtime *rt); /* take what lies in incoming/ */
int reload_all(struct runtime *rt, struct diag *reterr); /* for the verb */
void reload_applied(struct runtime *rt,
                    const char *detail); /* a rule set has come into force: tell, wait for its end */
void reload_retry(struct runtime *rt); /* what failed its self-test */
void reload_accounts(void *userdata); /* who is in which group has changed */
void reload_schedule(struct runtime *rt); /* when the rule set in force changes by the clock */

/* ---- exempt.c: exemptions and break-glass tokens ---- */
int exempt_start(struct runtime *rt); /* what is in force, before the first rule set */
int exempt_watch(struct runtime *rt); /* what comes */
void exempt_look(struct runtime *rt); /* take what lies in incoming/exemptions */
void exempt_tick(struct runtime *rt); /* the clock was set, time has passed: the ledger too is written */
void exempt_policy_changed(struct runtime *rt); /* keys and revocations may have */
int exempt_take(struct runtime *rt, const struct trust_file *f, struct diag *reterr); /* for the verb */
struct rules_grant *exempt_grants(const struct exemptions *x, size_t *ret_n); /* in force; free() */
json_t *exempt_json(struct runtime *rt);

/* ---- facts.c ---- */
void facts_handle(const struct fact *f, void *userdata); /* a watch_handler */
/* identify's handlers */
void facts_identified(int r, struct fact *f, const struct classification *c, void *userdata);
void facts_learnt(void *userdata);
/* A process that started before its verdict came: f says which and whose it is. */
void facts_handle_running(struct runtime *rt, struct fact *f);

/* ---- ring.c: what the kernel side tells ---- */
int ring_start(struct runtime *rt);
void ring_drain(struct runtime *rt); /* nothing that was seen is left behind */
void ring_end(struct runtime *rt);

/* ---- running.c ---- */
void running_schedule(struct runtime *rt); /* judge what runs and is connected by the rule set in force, soon */
/* A start could not be looked at, or nobody told of it: the same within a second. */
void running_again(struct runtime *rt);
void running_unread(struct runtime *rt); /* a loader has not read yet what it is to run */
void running_check_losses(struct runtime *rt); /* that, if the kernel had to leave out events since the last call */
void running_end(struct runtime *rt);

/* ---- packets.c ---- */
void packets_handle(const struct watch_packet *p, void *userdata); /* a watch_packet_handler */

/* ---- health.c: coverage, heartbeat, tampering ---- */
int health_start(struct runtime *rt);
void health_coverage(struct runtime *rt, enum coverage_event event, uint64_t gap_ms, const char *detail);
void health_tamper(struct runtime *rt, enum tamper kind, const char *what, enum outcome outcome);
void health_check_sleep(struct runtime *rt); /* after the machine slept: record it */
void health_check_sensors(struct runtime *rt); /* and repair them */
void health_applied(struct runtime *rt, const char *detail); /* coverage and status, as soon as there is time */

int health_self_test(struct runtime *rt, struct diag *reterr); /* of the rule set just applied: -EIO */

/* ---- canary.c: is what must be blocked blocked? ---- */
enum canary_result canary_probe(struct runtime *rt); /* now; takes some milliseconds */
bool canary_take(struct runtime *rt, const struct fact *f); /* a fact about the canary is nobody's attempt */
const char *canary_to_string(enum canary_result r);

/* ---- daemon.c ---- */
void control_open(struct runtime *rt); /* the control socket; logs why not */
void aside_look(struct runtime *rt); /* has the collector the records of the earlier key now? */

/* ---- guard.c: the agent's own files, pins, clock ---- */
int guard_start(struct runtime *rt);
/* There is no inotify for this folder: from now on each check looks at all of them. Says so once; returns 0. */
int guard_poll(struct runtime *rt, const char *folder, int r);
/* Whatever is renamed into it is handler's, with rt as userdata. */
void guard_watch_incoming(struct runtime *rt, const char *folder, sd_event_inotify_handler_t handler);

/* ---- browsers.c: the browsers' managed folders ---- */
#define BROWSERS_TEXT_MAX 640
int browsers_start(struct runtime *rt);
void browsers_apply(struct runtime *rt); /* what differs from the rule set in force is written again */
void browsers_end(struct runtime *rt);
int browsers_remove(const struct config *c); /* take ours away */
const char *browsers_describe(const struct runtime *rt, char buf[static BROWSERS_TEXT_MAX]); /* one line */
json_t *browsers_json(const struct runtime *rt);

/* ---- status.c ---- */
json_t *status_new(struct runtime *rt);
void status_dirty(struct runtime *rt); /* status.json is rewritten within a second */
/* That the spool takes no records: once for each time that it begins; the count is in status and in the next coverage record. */
void status_tell_refused(struct runtime *rt);
int status_write(struct runtime *rt);
struct contact { /* with the collector, by the uplink's word */
        time_t reached; /* the last time, 0 never */
        char failing[512]; /* why not now, or "" */
};
void status_contact(const struct runtime *rt, struct contact *ret);
/* The collector's log as the uplink was shown it last; -ENOENT. */
int status_seen(const struct runtime *rt, struct checkpoint *ret);

/* ---- answers.c: the control socket's verbs ---- */
json_t *answer(const struct control_request *q, uid_t uid, char ret_error[static CONTROL_ERROR_MAX], void *userdata);
int answer_my_data(int fd, uid_t uid, void *userdata);
void answer_notice(const struct report_notice *n, void *userdata); /* report's notice handler */
void answer_log_rest(struct runtime *rt); /* how many violations have no line of their own in the log */
