/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* Builds what the kernel expects byte by byte, from offsets written out in the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static inline void put_u8(uint8_t *raw, size_t at, uint8_t v)
{
	raw[at] = v;
}

static inline void put_u16(uint8_t *raw, size_t at, uint16_t v)
{
	memcpy(raw + at, &v, sizeof(v));
}

static inline void put_u32(uint8_t *raw, size_t at, uint32_t v)
{
	memcpy(raw + at, &v, sizeof(v));
}

static inline void put_u64(uint8_t *raw, size_t at, uint64_t v)
{
	memcpy(raw + at, &v, sizeof(v));
}
