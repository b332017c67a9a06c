/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once
/* The version of all programs, from the project's meson.build: in one object, so that another one is a matter of linking. */

extern const char onchannel_version[];
