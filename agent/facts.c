/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/runtime.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

#include "agent/classify/classify.h"
#include "agent/classify/proc.h"
#include "agent/enforce/mptcp.h"
#include "base/cleanup.h"
#include "base/log.h"

/* May this user start programs of that channel? */
static enum verdict program_verdict(const struct ruleset *rs, uint16_t channel, uid_t uid)
{
        const struct rule_exemption *e = rules_find_exemption(rs, channel, uid);

        return e ? e->programs : rs->channels[channel].programs;
}

/* -ESRCH it has ended, or has become another program. What its file system says of it, a user may have said. */
static int find_program(const struct runtime *rt, const struct fact *f)
{
        _cleanup_fd_ int proc = -1;

        return watch_has_executed(rt->watch, f->tgid, f->boottime_ns) ? -ESRCH
                                                                      : proc_open(f->tgid, f->boottime_ns, &proc);
}

/* 0 killed, -ESRCH as find_program(). */
static int kill_program(const struct runtime *rt, const struct fact *f)
{
        _cleanup_fd_ int fd = -1;
        int r;

        fd = pidfd_open((pid_t)f->tgid, 0); /* before the check: no other process can take its place */
        if (fd < 0)
                return -errno;
        r = find_program(rt, f);
        if (r < 0)
                return r;
        return pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0 ? -errno : 0;
}

static void learn(struct runtime *rt, const struct fact *f, const struct classification *c)
{
        int r;

        if (c->look_at_argv) /* this start only: the executable alone says nothing */
                r = watch_learn_program(rt->watch, f, 0, 0, true);
        else
                r = watch_learn_program(rt->watch, f, c->channel, c->entry, false);
        if (r >= 0 && c->channel)
                r = watch_learn_process(rt->watch, f->tgid, c->channel, c->entry);
        if (r < 0)
                log_errno(LOG_DEBUG, r, "cannot remember the program of process %" PRIu32 ", ignoring", f->tgid);
}

/* f->channel is known: end the program if the policy says so. False: nothing to report. */
static bool judge_program(struct runtime *rt, struct fact *f)
{
        int r;

        f->tier = TIER_PROGRAM;
        f->generation = rt->generation;
        f->outcome = OUTCOME_PASSED;
        if (program_verdict(rt->current, f->channel, f->uid) != VERDICT_BLOCK)
                return true; /* report/ knows whether that is worth a record */
        r = kill_program(rt, f);
        if (r >= 0)
                f->outcome = OUTCOME_KILLED;
        else if (r != -ESRCH)
                log_errno(LOG_ERR, r, "cannot end process %" PRIu32, f->tgid);
        return true;
}

/* A program that the kernel side did not know: false when it is nobody's business. */
static bool handle_classified(struct runtime *rt, struct fact *f, const struct classification *c)
{
        if (c->gone || c->pending || watch_has_executed(rt->watch, f->tgid, f->boottime_ns))
                return false;
        learn(rt, f, c);
        if (!c->channel)
                return false;
        f->channel = c->channel;
        f->entry = c->entry;
        return judge_program(rt, f);
}

static bool handle_answer(struct runtime *rt, int r, struct fact *f, const struct classification *c)
{
        if (r == -EBUSY || r == -ENOMEM) {
                running_again(rt);
                return false;
        }
        if (r >= 0 && c->is_unread)
                running_unread(rt);
        if (r < 0) {
                log_errno(LOG_DEBUG, r, "cannot classify process %" PRIu32 ", ignoring", f->tgid);
                return false;
        }
        return handle_classified(rt, f, c);
}

static bool handle_unknown_program(struct runtime *rt, struct fact *f)
{
        struct classification c;
        int r;

        /* in a flood of starts most are gone: a child's answer takes two turns at the processors */
        if (find_program(rt, f) == -ESRCH)
                return false;
        r = identify_start(rt->identify, f, &c);
        return handle_answer(rt, r, f, &c);
}

/* A flow whose packets are dropped: end it now instead of letting it retransmit. */
static void end_flow(struct runtime *rt, struct fact *f)
{
        int r = -EOPNOTSUPP;

        if (f->outcome != OUTCOME_DROPPED || !f->flow.family)
                return;
        if (rt->sockdestroy)
                r = sockdestroy_flow(rt->sockdestroy, &f->flow, f->tgid);
        if (f->flow.is_mptcp) {
                if (f->tgid && mptcp_shutdown(&f->flow, f->tgid) == 0)
                        r = 0;
                else /* it was handed to somebody: the walk finds to whom */
                        running_again(rt);
        }
        if (r == -EXDEV)
                return; /* a network namespace that is not found: the dropped packets have to do */
        if (r < 0 && r != -ENOENT) /* a reset for its next packet; not for a port that may be used anew */
                r = nft_add_flow(rt->nft, &f->flow);
        if (r >= 0)
                f->outcome = OUTCOME_RESET;
        else if (r != -ENOENT)
                log_errno(LOG_WARNING, r, "cannot reset a connection, ignoring");
}

/* Here nftables answers marked TCP by a reset and the rest by ICMP; elsewhere connect() failed. */
static void handle_connect(struct runtime *rt, struct fact *f)
{
        end_flow(rt, f); /* it was connected already */
        if (f->outcome == OUTCOME_DENIED && f->flow.protocol == IPPROTO_TCP && rt->netns_cookie &&
            f->flow.netns == rt->netns_cookie)
                f->outcome = OUTCOME_RESET;
}

static bool handle_by_layer(struct runtime *rt, struct fact *f)
{
        switch (f->layer) {
        case LAYER_EXEC:
                if (!f->channel)
                        return handle_unknown_program(rt, f);
                break;
        case LAYER_DNS:
                if (f->flow.protocol == IPPROTO_TCP)
                        end_flow(rt, f);
                break;
        case LAYER_QUIC: /* a socket with other peers lives on */
                if (f->flow.is_connected)
                        end_flow(rt, f);
                break;
        case LAYER_TLS:
        case LAYER_HTTP:
                end_flow(rt, f);
                break;
        case LAYER_CONNECT:
                handle_connect(rt, f);
                break;
        case LAYER_BROWSER:
        case LAYER_AGENT:
        case _LAYER_MAX:
                break;
        }
        classify_process(f);
        return true;
}

static void record(struct runtime *rt, const struct fact *f)
{
        int r;

        accounts_meet(rt->accounts, f->uid);
        rt->counters.killed += f->outcome == OUTCOME_KILLED;
        rt->counters.reset += f->outcome == OUTCOME_RESET;
        r = report_fact(rt->report, f, runtime_ruleset(rt, f->generation));
        rt->counters.stale += r == -ESTALE;
        if (r < 0 && r != -ESTALE)
                log_errno(LOG_ERR, r, "cannot record a violation");
        status_dirty(rt);
}

void facts_handle(const struct fact *fact, void *userdata)
{
        struct runtime *rt = userdata;
        struct fact f = *fact;

        if (canary_take(rt, fact))
                return;
        rt->counters.facts++;
        if (handle_by_layer(rt, &f))
                record(rt, &f);
}

void facts_identified(int r, struct fact *f, const struct classification *c, void *userdata)
{
        struct runtime *rt = userdata;

        if (handle_answer(rt, r, f, c))
                record(rt, f);
}

void facts_learnt(void *userdata)
{
        struct runtime *rt = userdata;
        int r = watch_forget_programs(rt->watch);

        if (r < 0)
                log_errno(LOG_WARNING, r, "cannot ask about known programs again, ignoring");
}

void facts_handle_running(struct runtime *rt, struct fact *f)
{
        bool known = watch_find_process(rt->watch, f->tgid, &f->channel, &f->entry);

        if (known)
                classify_process(f);
        if (known ? !judge_program(rt, f) : !handle_unknown_program(rt, f))
                return;
        if (!known || f->outcome != OUTCOME_PASSED) /* else its start was reported */
                record(rt, f);
}
