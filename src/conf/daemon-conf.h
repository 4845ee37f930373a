/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * /etc/ublkd.conf with its drop-ins: [Log] of the programs, [Manager] of "ublkd manage", and
 * [Defaults] for all devices, whose keys are those of a definition that make sense for more than
 * one: LogicalBlockSize Rotational Count Depth MaxIO CopyMode BatchIO BufferMemory PollMicroseconds
 * RecoveryMode (Mode= of [Recovery]) OnGiveUp ReadBandwidth WriteBandwidth ReadIOPS WriteIOPS
 * Autostart Manager Options Watch Owner Group Mode (of [Udev]). A device's own value stands above
 * them, "Key=" in a definition leads back to them.
 */
#include "conf/conf.h"

struct daemon_conf {
	unsigned log_level;       /* of syslog.h: LOG_ERR to LOG_DEBUG */
	uint64_t slow_request_ns; /* a request that takes longer is worth a message */
	uint32_t manager_threads; /* 0: auto */
};

/**
 * daemon_conf_load() - find, read, merge and check ublkd.conf
 *
 * Silent. That there is none is no error. Return: 0; -EUCLEAN: errors are in @diag; -ENOMEM; else
 * -errno of a failed read, which is in @diag as well.
 */
int daemon_conf_load(struct conf_diag *diag, struct daemon_conf *ret);

/* The same, and the document for the sake of [Defaults]; filled in as far as it goes on failure. */
int daemon_conf_read(struct conf_doc *doc, struct conf_diag *diag, struct daemon_conf *ret);

/* The tables and what they fill in, as the man page has them; that of [Defaults] is made up. */
#define DAEMON_SECTIONS 2

void daemon_conf_sections(struct daemon_conf *c, struct conf_section ret[static DAEMON_SECTIONS]);
