/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/* What systemctl does with units: jobs at PID 1's own socket, as util/systemd.h. Silent. Root only. */
#include <stddef.h>

enum systemd_verb { SYSTEMD_START, SYSTEMD_STOP, SYSTEMD_RESTART, SYSTEMD_RELOAD };

#define SYSTEMD_RESULT_MAX 160

struct systemd_job {
	enum systemd_verb verb;
	const char *unit;
	/* what came of it */
	int result;                    /* 0; -EIO: the job failed; else -errno of the call */
	char text[SYSTEMD_RESULT_MAX]; /* of a failure, as systemd says it: "timeout", "failed" */
	char path[96];                 /* of the job while it runs */
};

/* Called when a job has ended, and before the first. */
typedef void (*systemd_progress_fn)(size_t n_done, size_t n, void *arg);

/**
 * systemd_run_jobs() - do them, up to @n_parallel at a time, and wait for each
 * @progress:	may be NULL
 *
 * A job has no deadline but systemd's own. Each job gets its result.
 * Return: 0, whatever the jobs' results; -EHOSTDOWN: systemd does not run here; else -errno: systemd
 * went away, and jobs that had not ended have that for a result.
 */
int systemd_run_jobs(struct systemd_job *jobs, size_t n, unsigned n_parallel,
		     systemd_progress_fn progress, void *arg);

/* daemon-reload; back when generators have run and all units are read again. As systemd_get_state(). */
int systemd_daemon_reload(void);
