/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeps a ring open that has an array of SQ indices, for as long as a guest runs cases. Since 7.x the
 * kernel changes its own code, in the middle of the submission of SQEs, when the first of such rings
 * comes or the last one goes (io_key_has_sqarray); fio has one, liburing has none. An emulator with
 * two CPUs may run into the breakpoint that is there for that moment: "Oops: int3" in
 * io_submit_sqes(), seen once in some hours of fio under load.
 */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <liburing.h>

int main(void)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	if (syscall(SYS_io_uring_setup, 1, &p) < 0) {
		perror("keep-ring: io_uring_setup");
		return 1;
	}
	for (;;)
		pause();
}
