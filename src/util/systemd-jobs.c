/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/systemd-jobs.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/systemd-internal.h"

#define RELOAD_TIMEOUT_US (120ULL * 1000 * 1000)

DEFINE_AUTO(sd_bus_slot *, sd_bus_slot_unref);

struct jobs {
	sd_bus *bus;
	struct systemd_job *jobs;
	size_t n;
	size_t n_begun;
	size_t n_done;
	systemd_progress_fn progress;
	void *arg;
};

static void jobs_end(struct jobs *j, struct systemd_job *job, int result, const char *text)
{
	job->result = result;
	job->path[0] = '\0';
	snprintf(job->text, sizeof(job->text), "%s", text ?: "");
	j->n_done++;
	if (j->progress)
		j->progress(j->n_done, j->n, j->arg);
}

static void jobs_begin(struct jobs *j, struct systemd_job *job)
{
	static const char *const methods[] = {
		[SYSTEMD_START] = "StartUnit",
		[SYSTEMD_STOP] = "StopUnit",
		[SYSTEMD_RESTART] = "RestartUnit",
		[SYSTEMD_RELOAD] = "ReloadUnit",
	};
	AUTO(sd_bus_message_unref) sd_bus_message *reply = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *path = NULL;
	int r;

	r = sd_bus_call_method(j->bus, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
			       methods[job->verb], &error, &reply, "ss", job->unit, "replace");
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r < 0)
		jobs_end(j, job, r, error.message);
	else
		snprintf(job->path, sizeof(job->path), "%s", path);
	sd_bus_error_free(&error);
}

/* Signals wait in the connection's queue while a call is made, so none comes before its job. */
static int jobs_on_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct jobs *j = arg;
	const char *path, *unit, *result;
	uint32_t id;

	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	for (size_t i = 0; i < j->n_begun; i++) {
		const bool is_good = strcmp(result, "done") == 0 || strcmp(result, "skipped") == 0;

		if (strcmp(j->jobs[i].path, path) == 0)
			jobs_end(j, &j->jobs[i], is_good ? 0 : -EIO, is_good ? NULL : result);
	}
	return 0;
}

static int jobs_loop(struct jobs *j, unsigned n_parallel)
{
	while (j->n_done < j->n) {
		int r;

		while (j->n_begun < j->n && j->n_begun - j->n_done < n_parallel)
			jobs_begin(j, &j->jobs[j->n_begun++]);
		r = sd_bus_process(j->bus, NULL);
		if (r == 0 && j->n_done < j->n)
			r = sd_bus_wait(j->bus, UINT64_MAX);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

int systemd_run_jobs(struct systemd_job *jobs, size_t n, unsigned n_parallel,
		     systemd_progress_fn progress, void *arg)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	AUTO(sd_bus_slot_unref) sd_bus_slot *slot = NULL;
	struct jobs j = {.jobs = jobs, .n = n, .progress = progress, .arg = arg};
	int r;

	for (size_t i = 0; i < n; i++) {
		jobs[i].path[0] = jobs[i].text[0] = '\0';
		jobs[i].result = -EINPROGRESS;
	}
	r = systemd_connect(&bus);
	if (r >= 0)
		r = sd_bus_match_signal(bus, &slot, NULL, SYSTEMD_PATH, SYSTEMD_MANAGER,
					"JobRemoved", jobs_on_removed, &j);
	if (r >= 0)
		r = sd_bus_call_method(bus, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
				       "Subscribe", NULL, NULL, NULL);
	if (r >= 0) {
		j.bus = bus;
		if (progress)
			progress(0, n, arg);
		r = jobs_loop(&j, n_parallel);
	}
	for (size_t i = 0; r < 0 && i < n; i++) {
		if (jobs[i].result == -EINPROGRESS)
			jobs_end(&j, &jobs[i], r, strerror(-r));
	}
	return MIN(r, 0);
}

int systemd_daemon_reload(void)
{
	AUTO(sd_bus_close_unref) sd_bus *bus = NULL;
	AUTO(sd_bus_message_unref) sd_bus_message *m = NULL;
	int r = systemd_connect(&bus);

	if (r >= 0)
		r = sd_bus_message_new_method_call(bus, &m, SYSTEMD_SERVICE, SYSTEMD_PATH,
						   SYSTEMD_MANAGER, "Reload");
	if (r >= 0)
		r = sd_bus_call(bus, m, RELOAD_TIMEOUT_US, NULL, NULL);
	return MIN(r, 0);
}
