/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/survey.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "abi/features.h"
#include "conf/search.h"
#include "ring/ctrl.h"
#include "util/fd.h"
#include "util/parse.h"

#define ATTRIBUTE_MAX_BYTES 4096
#define SECTOR_BYTES        512

static void survey_device_deinit(struct survey_device *d)
{
	free(d->name);
	state_deinit(&d->state);
	device_conf_free(d->conf);
}

void survey_deinit(struct survey *s)
{
	for (size_t i = 0; i < s->n; i++)
		survey_device_deinit(&s->devices[i]);
	free(s->devices);
	*s = (struct survey){0};
}

/* The pointer is good until the next call. NULL: no memory. */
static struct survey_device *survey_add(struct survey *s)
{
	struct survey_device *more = reallocarray(s->devices, s->n + 1, sizeof(*more));

	if (!more)
		return NULL;
	s->devices = more;
	more[s->n] = (struct survey_device){.info_error = -ENODATA, .owner_error = -ENODATA};
	return &more[s->n++];
}

static struct survey_device *survey_find_name(const struct survey *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->devices[i].name && strcmp(s->devices[i].name, name) == 0)
			return &s->devices[i];
	}
	return NULL;
}

static struct survey_device *survey_find_id(const struct survey *s, uint32_t dev_id)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->devices[i].has_dev && s->devices[i].dev_id == dev_id)
			return &s->devices[i];
	}
	return NULL;
}

/* 0 if the attribute is not there: kernels differ in what they have. */
static uint64_t attribute_u64(int dir_fd, const char *path)
{
	AUTO_FREE char *text = NULL;
	uint64_t value = 0;

	if (fd_read_file(dir_fd, path, ATTRIBUTE_MAX_BYTES, &text, NULL) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, &value) < 0 ? 0 : value;
}

static bool attribute_is(int dir_fd, const char *path, const char *want)
{
	AUTO_FREE char *text = NULL;

	if (fd_read_file(dir_fd, path, ATTRIBUTE_MAX_BYTES, &text, NULL) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, want) == 0;
}

static void survey_read_disk(const char *sys, struct survey_device *d)
{
	AUTO_CLOSE int fd = -1;
	char path[256];

	snprintf(path, sizeof(path), "%s/class/block/ublkb%" PRIu32, sys, d->dev_id);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	d->has_disk = true;
	d->disk = (struct survey_disk){
		.size_bytes = attribute_u64(fd, "size") * SECTOR_BYTES,
		.logical_block_bytes = attribute_u64(fd, "queue/logical_block_size"),
		.physical_block_bytes = attribute_u64(fd, "queue/physical_block_size"),
		.io_min_bytes = attribute_u64(fd, "queue/minimum_io_size"),
		.io_opt_bytes = attribute_u64(fd, "queue/optimal_io_size"),
		.max_io_bytes = attribute_u64(fd, "queue/max_hw_sectors_kb") << 10,
		.max_discard_bytes = attribute_u64(fd, "queue/discard_max_bytes"),
		.discard_granularity_bytes = attribute_u64(fd, "queue/discard_granularity"),
		.max_write_zeroes_bytes = attribute_u64(fd, "queue/write_zeroes_max_bytes"),
		.read_only = attribute_is(fd, "ro", "1"),
		.rotational = attribute_is(fd, "queue/rotational", "1"),
		.write_cache = attribute_is(fd, "queue/write_cache", "write back"),
		.fua = attribute_is(fd, "queue/fua", "1"),
	};
	/* Up to Linux 6.14 a recoverable device has a slot that nobody may use. */
	if (d->info_error == 0 && d->info.flags & FEATURE_USER_RECOVERY &&
	    attribute_u64(fd, "queue/nr_requests") + 1 == d->info.depth)
		d->info.depth--;
}

static int survey_add_kernel(struct survey *s, const char *sys)
{
	AUTO(ctrl_close) struct ctrl *ctrl = NULL;
	AUTO_CLOSEDIR DIR *dir = NULL;
	const struct dirent *e;
	char path[256];
	int r;

	snprintf(path, sizeof(path), "%s/class/ublk-char", sys);
	r = fd_open_dir(AT_FDCWD, path, &dir);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* the module is not loaded */
	while ((e = readdir(dir))) {
		struct survey_device *d;
		uint32_t dev_id;

		if (strncmp(e->d_name, "ublkc", 5) != 0 || parse_u32(e->d_name + 5, &dev_id) < 0)
			continue;
		if (!ctrl && s->ctrl_error == 0)
			s->ctrl_error = ctrl_open(&ctrl);
		d = survey_add(s);
		if (!d)
			return -ENOMEM;
		d->has_dev = true;
		d->dev_id = dev_id;
		d->info_error = s->ctrl_error;
		if (ctrl)
			d->info_error = ctrl_get_dev_info(ctrl, dev_id, &d->info);
		if (d->info_error == -ENODEV)
			s->n--; /* deleted meanwhile */
		else
			survey_read_disk(sys, d);
	}
	return 0;
}

/* Gives a name its device: the one of the kernel that it is, or a new one. */
static struct survey_device *survey_claim(struct survey *s, const char *name,
					  const struct state *st)
{
	struct survey_device *d = survey_find_name(s, name);

	if (!d && st)
		d = survey_find_id(s, st->dev_id);
	/* the id may be somebody else's by now; only the kernel's copy of our mark can tell */
	if (d && st && d->has_dev && d->info_error == 0 && d->info.cookie != st->cookie)
		d = NULL;
	if (d && d->name && strcmp(d->name, name) != 0)
		d = NULL;
	for (size_t i = 0; !d && i < s->n; i++) {
		struct survey_device *c = &s->devices[i];

		if (!c->name && c->has_dev && c->info_error == 0 &&
		    c->info.cookie == state_cookie(name))
			d = c; /* ours, though /run/ublkd does not know it any more */
	}
	if (!d)
		d = survey_add(s);
	if (d && !d->name)
		d->name = strdup(name);
	return d && d->name ? d : NULL;
}

static int survey_add_states(struct survey *s)
{
	AUTO(state_list_free) char **names = NULL;
	char boot_id[33] = "";
	int r;

	r = state_list(&names);
	if (r < 0)
		return r;
	state_boot_id(boot_id); /* on failure no state is of this boot */
	for (char **name = names; *name; name++) {
		struct survey_device *d;
		struct state state = {0};
		bool has_state;

		has_state = state_read(*name, &state) == 0 && strcmp(state.boot_id, boot_id) == 0;
		d = survey_claim(s, *name, has_state ? &state : NULL);
		if (!d) {
			state_deinit(&state);
			return -ENOMEM;
		}
		d->owner_error = state_get_owner(*name, &d->owner);
		d->has_state = has_state;
		if (has_state)
			d->state = state;
		else
			state_deinit(&state);
	}
	return 0;
}

static int survey_add_definitions(struct survey *s)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_strv_free) char **names = NULL;
	int r;

	r = device_conf_list(&diag, &names);
	if (r < 0)
		return r;
	for (char **name = names; *name; name++) {
		struct survey_device *d = survey_claim(s, *name, NULL);

		if (!d)
			return -ENOMEM;
		r = device_conf_load(*name, &diag, &d->conf);
		if (r == -ENOMEM)
			return r;
		d->definition = r == 0          ? DEFINITION_GOOD
				: r == -ERFKILL ? DEFINITION_MASKED
				: r == -ENOENT  ? DEFINITION_NONE
						: DEFINITION_INVALID;
	}
	return 0;
}

static int survey_compare(const void *left, const void *right)
{
	const struct survey_device *a = left, *b = right;

	if (a->name && b->name)
		return strcmp(a->name, b->name);
	if (a->name || b->name)
		return a->name ? -1 : 1;
	return a->dev_id < b->dev_id ? -1 : a->dev_id > b->dev_id;
}

int survey_take(const char *sys, struct survey *ret)
{
	struct survey s = {0};
	int r;

	r = survey_add_kernel(&s, sys);
	if (r == 0)
		r = survey_add_states(&s);
	if (r == 0)
		r = survey_add_definitions(&s);
	if (r < 0) {
		survey_deinit(&s);
		return r;
	}
	if (s.n > 0)
		qsort(s.devices, s.n, sizeof(*s.devices), survey_compare);
	*ret = s;
	return 0;
}

struct survey_device *survey_find(const struct survey *s, const char *word)
{
	struct survey_device *d;
	uint32_t dev_id;

	if (strncmp(word, "/dev/ublk/", 10) == 0)
		return survey_find_name(s, word + 10);
	d = survey_find_name(s, word);
	if (d)
		return d;
	if (strncmp(word, "/dev/", 5) == 0)
		word += 5;
	if (strncmp(word, "ublkb", 5) == 0 || strncmp(word, "ublkc", 5) == 0)
		word += 5;
	return parse_u32(word, &dev_id) == 0 ? survey_find_id(s, dev_id) : NULL;
}

const char *survey_state(const struct survey_device *d)
{
	const bool is_owned = d->owner_error == 0 && d->owner > 0;

	if (d->has_dev && d->info_error < 0)
		return "unknown";
	if (d->has_dev && !(d->info.state == DEV_DEAD && is_owned))
		return dev_state_to_string(d->info.state);
	if (is_owned)
		return "starting";
	/* there is a directory, and who holds its lock is not for us to know */
	if (d->owner_error < 0 && d->owner_error != -ENODATA)
		return "unknown";
	if (d->definition == DEFINITION_MASKED)
		return "masked";
	return d->definition == DEFINITION_INVALID ? "invalid" : "stopped";
}

pid_t survey_server(const struct survey_device *d)
{
	if (d->owner_error == 0 && d->owner > 0)
		return d->owner;
	if (d->has_dev && d->info_error == 0 && d->info.server_pid > 0)
		return d->info.server_pid;
	return 0;
}
