/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* Which public lists of names (v2fly-names.json of the reference data) a channel must cover. */

static const struct {
        const char *list;
        const char *channel;
} public_lists[] = {
        {"bale", "bale"},
        {"botim", "botim"},
        {"chatango", "chatango"},
        {"clubhouse", "clubhouse"},
        {"dingtalk", "dingtalk"},
        {"discord", "discord"},
        {"eitaa", "eitaa"},
        {"facebook-messenger", "messenger"},
        {"gap", "gap"},
        {"irc", "irc"},
        {"keybase", "keybase"},
        {"lark", "lark"},
        {"line", "line"},
        {"matrix", "matrix"},
        {"rubika", "rubika"},
        {"signal", "signal"},
        {"slack", "slack"},
        {"snapchat", "snapchat"},
        {"soroush", "soroush"},
        {"teamspeak", "teamspeak"},
        {"telegram", "telegram"},
        {"viber", "viber"},
        {"vk-messenger", "vk-messenger"},
        {"webex", "webex"},
        {"whatsapp", "whatsapp"},
        {"zoom", "zoom"},
};

/* No message goes by these; 'reason' is for the reader. */
static const struct {
        const char *name;
        const char *reason;
} left_out[] = {
        {"adsgram.ai", "an advertising network"},
        {"airhorn.solutions", "a joke of the company"},
        {"airhornbot.com", "a joke of the company"},
        {"arewereadyyet.com", "a page on the project's progress"},
        {"baseopendev.com", "tables for other people's programs"},
        {"bigbeans.solutions", "a joke of the company"},
        {"bytecloud.com", "ByteDance's video cloud"},
        {"bytedancehermestest.com", "pictures in mails about expenses"},
        {"byteoc.com", "ByteDance's platform for firms' own services"},
        {"bytewebservice.com", "ByteDance's platform for firms' own services"},
        {"bytexns.cn", "ByteDance's video cloud"},
        {"bytexns.com", "ByteDance's video cloud"},
        {"bytexns.net", "ByteDance's video cloud"},
        {"bytexopen.com", "ByteDance's platform for firms' own services"},
        {"bytexservice.com", "ByteDance's platform for firms' own services"},
        {"comments.app", "comments below other people's pages"},
        {"discord.design", "the company's blog"},
        {"discord.store", "a shop for clothes"},
        {"discord.tools", "the staff's tools"},
        {"discordmerch.com", "a shop for clothes"},
        {"graph.org", "publishes pages"},
        {"larkcloud.com", "hosting of other people's programs"},
        {"larkcloud.net", "hosting of other people's programs"},
        {"larkfn.com", "hosting of other people's programs"},
        {"linecorp.com", "the company's site"},
        {"meegobeta.com", "planning of projects"},
        {"nbabot.net", "in no client; whose it is could not be found out"},
        {"okr.cn", "planning of goals"},
        {"okr.com", "planning of goals"},
        {"okr.com.cn", "planning of goals"},
        {"quiz.directory", "publishes quizzes"},
        {"sc-static.net", "scripts of its advertising on other people's sites"},
        {"signalusers.org", "the users' forum"},
        {"slackcertified.com", "courses and examinations"},
        {"slackdemo.com", "shows the product to buyers"},
        {"slackhq.com", "the company's blog"},
        {"snap.com", "the company's site"},
        {"snapads.com", "advertising"},
        {"telegra.ph", "publishes pages"},
        {"thelarkcloud.com", "hosting of other people's programs"},
        {"vscenevideo.com", "another firm's site"},
        {"watchanimeattheoffice.com", "a joke of the company"},
        {"whatsapp-plus.info", "somebody else's altered program, for telephones"},
        {"whatsapp-plus.me", "somebody else's altered program, for telephones"},
        {"whatsapp-plus.net", "somebody else's altered program, for telephones"},
        {"whatsappbrand.com", "logos for the press"},
};

/* Of doh-names.json; at least 95 of 100 must be matched. */
static const struct {
        const char *name;
        const char *reason;
} resolvers_left_out[] = {
        {"nextdns.io", "the company's site: its resolvers have names of their own"},
        {"opendns.com", "the company's site: its resolvers have names of their own"},
        {"v.recipes", "a site with other things on it"},
};
