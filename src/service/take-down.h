/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * What stands upon a device of a machine that goes down, and that nobody uses any more, is taken down with
 * system calls: no tool and no unit has to be there for it.
 */
#include <stdint.h>

/**
 * take_down() - what stands upon /dev/ublkb@dev_id and is free
 *
 * One step of each kind after the other, from the top: mounts, but the root; volumes of device-mapper,
 * MD arrays and loop devices. The kernel refuses what is in use, which stays, with all below it. Each that
 * goes is logged; else silent. Not to be called while units are stopped that do the same.
 */
void take_down(uint32_t dev_id);
