/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/mounts.h"

#include <stdbool.h>
#include <string.h>
#include <sys/sysmacros.h>

void mounts_deinit(struct mounts *m)
{
	for (size_t i = 0; i < m->n_mounts; i++) {
		free(m->mounts[i].target);
		free(m->mounts[i].source);
	}
	free(m->mounts);
	*m = (struct mounts){0};
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

void mounts_unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* "36 35 98:0 /root /target options shared:1 - type source options" */
static int mounts_parse_line(char *line, struct mounts *m)
{
	char *target = NULL, *source = NULL, *saved, *word;
	struct mount *grown, mount;
	unsigned n = 0, separator = 0, dev_major, dev_minor;
	dev_t dev = 0;
	char end;

	for (word = strtok_r(line, " \n", &saved); word; word = strtok_r(NULL, " \n", &saved)) {
		n++;
		if (n == 3 && sscanf(word, "%u:%u%c", &dev_major, &dev_minor, &end) == 2)
			dev = makedev(dev_major, dev_minor);
		else if (n == 5)
			target = word;
		else if (n > 6 && !separator && strcmp(word, "-") == 0)
			separator = n;
		else if (separator && n == separator + 2)
			source = word;
	}
	if (!target || !source)
		return 0;
	mounts_unescape(target);
	mounts_unescape(source);
	grown = reallocarray(m->mounts, m->n_mounts + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	m->mounts = grown;
	mount = (struct mount){.dev = dev, .target = strdup(target), .source = strdup(source)};
	grown[m->n_mounts++] = mount;
	return mount.target && mount.source ? 0 : -ENOMEM;
}

int mounts_read(const char *mountinfo, struct mounts *m)
{
	AUTO_FCLOSE FILE *f = fopen(mountinfo, "re");
	AUTO_FREE char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (!f)
		return -errno;
	errno = 0;
	while (r == 0 && getline(&line, &size, f) >= 0)
		r = mounts_parse_line(line, m);
	if (r == 0 && !feof(f))
		r = errno > 0 ? -errno : -EIO;
	return r;
}

int mounts_each_swap(const char *swaps, int (*fn)(const char *path, void *arg), void *arg)
{
	AUTO_FCLOSE FILE *f = fopen(swaps, "re");
	AUTO_FREE char *line = NULL;
	size_t size = 0;
	int r = 0;

	while (f && r == 0 && getline(&line, &size, f) > 0) {
		line[strcspn(line, " \t\n")] = '\0';
		mounts_unescape(line);
		r = fn(line, arg);
	}
	return r;
}

const struct mount *mounts_find(const struct mounts *m, const char *path)
{
	const struct mount *found = NULL;
	size_t found_len = 0;

	for (size_t i = 0; i < m->n_mounts; i++) {
		const struct mount *mount = &m->mounts[i];
		size_t len;

		if (!mount->target || !mount->source)
			continue;
		len = strlen(mount->target);
		while (len > 0 && mount->target[len - 1] == '/')
			len--;
		if (strncmp(path, mount->target, len) != 0 || (path[len] && path[len] != '/'))
			continue;
		/* Of two on the same place the later one lies on top. */
		if (!found || len >= found_len) {
			found = mount;
			found_len = len;
		}
	}
	return found;
}
