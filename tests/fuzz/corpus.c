/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for libFuzzer: runs a target over all files of a directory. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "util/cleanup.h"

#define INPUT_MAX (1 << 20)

static int run_file(const char *dir, const char *name)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE uint8_t *data = NULL, *exact = NULL;
	AUTO_FCLOSE FILE *f = NULL;
	size_t size;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	f = fopen(path, "re");
	data = malloc(INPUT_MAX);
	if (!f || !data)
		return -errno;
	size = fread(data, 1, INPUT_MAX, f);
	/* So that the address sanitizer sees a read behind the end. */
	exact = malloc(size + 1);
	if (!exact)
		return -ENOMEM;
	memcpy(exact + 1, data, size);
	LLVMFuzzerTestOneInput(exact + 1, size);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned n = 0;
	struct dirent *de;
	DIR *d = argc == 2 ? opendir(argv[1]) : NULL;

	if (!d) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return EXIT_FAILURE;
	}
	while ((de = readdir(d))) {
		int r = de->d_name[0] == '.' ? 0 : run_file(argv[1], de->d_name);

		if (r < 0) {
			fprintf(stderr, "%s/%s: %s\n", argv[1], de->d_name, strerror(-r));
			return EXIT_FAILURE;
		}
		n += de->d_name[0] != '.';
	}
	closedir(d);
	printf("%u inputs\n", n);
	return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
