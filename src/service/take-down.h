/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What stands upon a device of a machine that goes down, and that nobody uses any more, is taken down with
 * system calls: no tool and no unit has to be there for it.
 */
#include <stdint.h>

/**
 * take_down() - what stands upon /dev/ublkb@dev_id and is free
 * @fd:	where each that goes is told in a line, "unmounted /srv/data"
 *
 * From the top: mounts, but for the root; volumes of device-mapper, MD arrays and loop devices. The kernel refuses
 * what is in use, which stays, and so does all below it. Silent. It may wait for ever for what does not answer,
 * so it is for a process of its own; and not for a time at which units do the same.
 */
void take_down(uint32_t dev_id, int fd);
