/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/state.h"

#include "golden.h"
#include "util/fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Each test has a directory of its own for /run/ublkd, which does not exist yet. */
static int setup(void **state)
{
	char *base = strdup("/tmp/test-state.XXXXXX");
	char dir[64];

	if (!base || !mkdtemp(base))
		return -1;
	snprintf(dir, sizeof(dir), "%s/run", base);
	setenv("UBLKD_STATE_DIR", dir, 1);
	umask(077);
	*state = base;
	return 0;
}

static int teardown(void **state)
{
	AUTO_FREE char *base = *state;
	AUTO_FREE char *command = NULL;

	umask(022);
	if (asprintf(&command, "rm -r %s", base) < 0)
		return -1;
	return system(command);
}

static const char *path(const char *relative)
{
	static char buf[256];

	snprintf(buf, sizeof(buf), "%s/%s", state_dir(), relative);
	return buf;
}

static mode_t mode_of(const char *relative)
{
	struct stat st;

	assert_int_equal(stat(path(relative), &st), 0);
	return st.st_mode & 07777;
}

static void put_file(const char *relative, const char *text)
{
	AUTO_FCLOSE FILE *f = fopen(path(relative), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
}

static void assert_file(const char *relative, const char *want)
{
	AUTO_FREE char *text = NULL;

	assert_int_equal(fd_read_file(AT_FDCWD, path(relative), 4096, &text, NULL), 0);
	assert_string_equal(text, want);
}

static char *copy(const char *s)
{
	char *d = strdup(s);

	assert_non_null(d);
	return d;
}

static struct state make_state(void)
{
	return (struct state){
		.dev_id = 4294967294,
		.boot_id = "0123456789abcdef0123456789abcdef",
		.cookie = 0xfedcba9876543210,
		.pid = 2147483647,
		.flags = 0x26042,
		.digest = 1,
		.backend = copy("file"),
		.target = copy("/srv/a b=c\\d\n\"e\"\xc3\xa9"),
		.definition = copy("/etc/ublk/x.conf"),
	};
}

static void test_cookie_is_fnv1a_and_never_0(void **state)
{
	assert_true(state_cookie("a") == 0xaf63dc4c8601ec8c);
	assert_true(state_cookie("foobar") == 0x85944171f73967e8);
	assert_true(state_cookie("") != 0);
}

static void test_boot_id(void **state)
{
	char id[33];

	assert_int_equal(state_boot_id(id), 0);
	assert_int_equal(strspn(id, "0123456789abcdef"), 32);
	assert_int_equal(id[32], '\0');
}

static void test_lock_makes_what_it_needs(void **state)
{
	AUTO_CLOSE int fd = -1;
	char want[32];

	assert_int_equal(state_lock("data", &fd), 0);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(mode_of(""), 0755);
	assert_int_equal(mode_of("data"), 0755);
	assert_int_equal(mode_of("data/lock"), 0600);
	snprintf(want, sizeof(want), "%d\n", (int)getpid());
	assert_file("data/lock", want);
}

static void test_name_has_one_server(void **state)
{
	AUTO_CLOSE int other = -1;
	int first, second = -7;
	pid_t pid = -1;

	assert_int_equal(state_get_owner("data", &pid), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(state_lock("data", &first), 0);
	assert_int_equal(state_lock("data", &second), -EBUSY);
	assert_int_equal(second, -7);
	assert_int_equal(state_lock("data2", &other), 0);
	assert_int_equal(state_get_owner("data", &pid), 0);
	assert_int_equal(pid, getpid());
	close(first);
	assert_int_equal(state_get_owner("data", &pid), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(state_lock("data", &second), 1); /* the first has removed nothing */
	close(second);
}

static void test_dead_owner_is_nobody(void **state)
{
	int status, fd;
	pid_t pid, child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(state_lock("data", &fd) == 0 ? 0 : 1); /* and leaves its pid behind */
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(state_get_owner("data", &pid), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(state_lock("data", &fd), 1);
	assert_int_equal(state_get_owner("data", &pid), 0);
	assert_int_equal(pid, getpid());
	close(fd);
}

static void test_lock_file_is_not_believed(void **state)
{
	const struct {
		const char *text;
		int r;
	} cases[] = {
		{"", -EAGAIN},
		{"12", -EAGAIN},
		{"\n", -EBADMSG},
		{"0\n", -EBADMSG},
		{"-5\n", -EBADMSG},
		{"12 \n", -EBADMSG},
		{"12\n13\n", -EBADMSG},
		{"0x10\n", -EBADMSG},
		{"2147483648\n", -EBADMSG},
		{"99999999999999999999999999999999999999999999999999999999999999999\n", -EAGAIN},
	};
	AUTO_CLOSE int fd = -1;
	pid_t pid = -7;

	assert_int_equal(state_lock("data", &fd), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_file("data/lock", cases[i].text);
		assert_int_equal(state_get_owner("data", &pid), cases[i].r);
		assert_int_equal(pid, -7);
	}
}

static void test_removed_lock_is_free_for_the_next(void **state)
{
	AUTO_CLOSE int first = -1, second = -1;

	assert_int_equal(state_lock("data", &first), 0);
	assert_int_equal(state_remove("data", UINT32_MAX), 0);
	assert_int_equal(access(path("data"), F_OK), -1);
	assert_int_equal(state_lock("data", &second), 0); /* though first is still held */
	close(first);
	first = -1;
	assert_int_equal(state_lock("data", &first), -EBUSY);
}

/* Processes that take, remove and drop one name: at no time may two of them be in. */
static void test_lock_and_remove_in_many_processes(void **state)
{
	const int n_children = 3, n_rounds = 30;
	char inside[256];

	snprintf(inside, sizeof(inside), "%s/inside", (const char *)*state);
	for (int i = 0; i < n_children; i++) {
		pid_t child = fork();

		assert_true(child >= 0);
		if (child > 0)
			continue;
		for (int n = 0; n < n_rounds;) {
			int fd, mark, r = state_lock("data", &fd);

			if (r == -EBUSY)
				continue;
			if (r < 0)
				_exit(1);
			mark = open(inside, O_CREAT | O_EXCL | O_CLOEXEC, 0600);
			if (mark < 0 || unlink(inside) < 0)
				_exit(2);
			close(mark);
			if (n % 2 && state_remove("data", UINT32_MAX) < 0)
				_exit(3);
			close(fd);
			n++;
		}
		_exit(0);
	}
	for (int i = 0; i < n_children; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
}

static void test_looking_does_not_disturb_a_start(void **state)
{
	const int n_rounds = 100;
	int status, fd;
	pid_t child;

	assert_int_equal(state_lock("data", &fd), 0);
	close(fd);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		pid_t pid;

		for (;;)
			state_get_owner("data", &pid);
	}
	for (int i = 0; i < n_rounds; i++) {
		assert_int_equal(state_lock("data", &fd), 1);
		close(fd);
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
}

static void test_state_round_trip(void **state)
{
	struct state in = make_state(), out;
	AUTO_CLOSE int fd = -1;

	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_write("data", &in), 0);
	assert_int_equal(mode_of("data/state"), 0644);
	assert_int_equal(state_read("data", &out), 0);
	assert_int_equal(out.dev_id, in.dev_id);
	assert_string_equal(out.boot_id, in.boot_id);
	assert_true(out.cookie == in.cookie);
	assert_int_equal(out.pid, in.pid);
	assert_true(out.flags == in.flags);
	assert_true(out.digest == in.digest);
	assert_string_equal(out.backend, in.backend);
	assert_string_equal(out.target, in.target);
	assert_string_equal(out.definition, in.definition);
	state_deinit(&in);
	state_deinit(&out);
}

static void test_absent_texts_come_back_empty(void **state)
{
	struct state in = {.boot_id = "0123456789abcdef0123456789abcdef", .pid = 1}, out;
	AUTO_CLOSE int fd = -1;

	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_write("data", &in), 0);
	assert_int_equal(state_read("data", &out), 0);
	assert_string_equal(out.target, "");
	assert_string_equal(out.definition, "");
	state_deinit(&out);
}

static void test_state_that_means_nothing_is_not_written(void **state)
{
	struct state no_boot = {.pid = 1};
	struct state no_pid = {.boot_id = "0123456789abcdef0123456789abcdef"};
	AUTO_CLOSE int fd = -1;

	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_write("data", &no_boot), -EINVAL);
	assert_int_equal(state_write("data", &no_pid), -EINVAL);
	assert_int_equal(access(path("data/state"), F_OK), -1);
}

static void test_unknown_keys_are_passed_over(void **state)
{
	AUTO_FREE char *text = NULL, *more = NULL;
	struct state in = make_state(), out;
	AUTO_CLOSE int fd = -1;

	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_write("data", &in), 0);
	assert_int_equal(fd_read_file(AT_FDCWD, path("data/state"), 4096, &text, NULL), 0);
	assert_true(asprintf(&more, "NEWER=a\\b\n%s", text) > 0);
	put_file("data/state", more);
	assert_int_equal(state_read("data", &out), 0);
	assert_string_equal(out.backend, "file");
	state_deinit(&in);
	state_deinit(&out);
}

/* Cut off after any byte, the file is refused and nothing leaks. */
static void test_half_written_state_is_refused(void **state)
{
	AUTO_FREE char *text = NULL;
	struct state in = make_state(), out;
	AUTO_CLOSE int fd = -1;
	size_t len;

	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_write("data", &in), 0);
	state_deinit(&in);
	assert_int_equal(fd_read_file(AT_FDCWD, path("data/state"), 4096, &text, &len), 0);
	while (len-- > 0) {
		text[len] = '\0';
		put_file("data/state", text);
		assert_int_equal(state_read("data", &out), -EBADMSG);
	}
}

static void test_spoiled_state_is_refused(void **state)
{
	const char *const spoils[][2] = {
		{"DEV_ID=4294967294", "DEV_ID=4294967296"},
		{"DEV_ID=4294967294", "DEV_ID=-1"},
		{"DEV_ID=4294967294", "DEV_ID= 1"},
		{"DEV_ID=4294967294", "DEV_ID="},
		{"DEV_ID=4294967294", "DEV_ID"},
		{"DEV_ID=4294967294", "dev_id=4294967294"},
		{"PID=2147483647", "PID=2147483648"},
		{"PID=2147483647", "PID=0"},
		{"PID=2147483647", "PID=1\nPID=1"},
		{"BOOT_ID=0123456789abcdef", "BOOT_ID=0123456789abcdeg"},
		{"BOOT_ID=0123456789abcdef", "BOOT_ID=0123456789abcdef0"},
		{"COOKIE=fedcba9876543210", "COOKIE=fedcba98765432100"},
		{"COOKIE=fedcba9876543210", "COOKIE=0xdcba9876543210"},
		{"BACKEND=file", "BACKEND=fi\\0"},
		{"BACKEND=file", "BACKEND=fi\\00le"},
		{"BACKEND=file", "BACKEND=fi\\zz"},
		{"BACKEND=file", "BACKEND=file\\"},
		{"STATE=1", "STATE=2"},
	};
	AUTO_FREE char *text = NULL;
	struct state in = make_state(), out;
	AUTO_CLOSE int fd = -1;

	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_write("data", &in), 0);
	state_deinit(&in);
	assert_int_equal(fd_read_file(AT_FDCWD, path("data/state"), 4096, &text, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(spoils); i++) {
		const char *at = strstr(text, spoils[i][0]);
		AUTO_FREE char *spoiled = NULL;

		assert_non_null(at);
		assert_true(asprintf(&spoiled, "%.*s%s%s", (int)(at - text), text, spoils[i][1],
				     at + strlen(spoils[i][0])) > 0);
		put_file("data/state", spoiled);
		assert_int_equal(state_read("data", &out), -EBADMSG);
	}
}

static void test_state_of_nobody(void **state)
{
	AUTO_CLOSE int fd = -1;
	struct state out;

	assert_int_equal(state_read("data", &out), -ENOENT);
	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_read("data", &out), -ENOENT);
}

static void test_huge_state_is_refused(void **state)
{
	AUTO_FREE char *text = malloc(1 << 20);
	AUTO_CLOSE int fd = -1;
	struct state out;

	assert_non_null(text);
	memset(text, 'a', 1 << 20);
	text[(1 << 20) - 1] = '\0';
	assert_int_equal(state_lock("data", &fd), 0);
	put_file("data/state", text);
	assert_int_equal(state_read("data", &out), -EBADMSG);
}

static void test_names_stay_in_their_directory(void **state)
{
	const char *const names[] = {"", ".", "..", "../x", "a/b", ".#x", "udev"};
	struct state s = make_state();
	pid_t pid;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(state_lock(names[i], &fd), -EINVAL);
		assert_int_equal(state_get_owner(names[i], &pid), -EINVAL);
		assert_int_equal(state_write(names[i], &s), -EINVAL);
		assert_int_equal(state_remove(names[i], 0), -EINVAL);
	}
	state_deinit(&s);
}

static void test_link_is_no_directory(void **state)
{
	AUTO_CLOSE int fd = -1;
	int other;

	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(symlink("data", path("link")), 0);
	assert_true(state_lock("link", &other) < 0);
}

static void test_remove_leaves_nothing(void **state)
{
	const struct udev_properties p = {.name = "data", .backend = "null", .mode = UINT32_MAX};
	struct state s = make_state();
	AUTO_CLOSE int fd = -1;

	assert_int_equal(state_remove("data", 3), 0);
	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_write("data", &s), 0);
	state_deinit(&s);
	put_file("data/.#state.00000000", "left by a killed writer");
	assert_int_equal(state_write_udev(3, &p), 0);
	assert_int_equal(state_write_udev(33, &p), 0);
	assert_int_equal(state_remove("data", 3), 0);
	assert_int_equal(access(path("data"), F_OK), -1);
	assert_int_equal(access(path("udev/ublkb3"), F_OK), -1);
	assert_int_equal(access(path("udev/ublkb33"), F_OK), 0);
	assert_int_equal(state_remove("data", 3), 0);
}

static void test_list(void **state)
{
	const char *const want[] = {"a", "b", "c-1"};
	const struct udev_properties p = {.name = "a", .backend = "null", .mode = UINT32_MAX};
	AUTO(state_list_free) char **names = NULL;
	char **none;
	size_t n = 0;
	int fd;

	assert_int_equal(state_list(&none), 0);
	assert_null(none[0]);
	state_list_free(none);
	for (size_t i = ARRAY_SIZE(want); i-- > 0;) {
		assert_int_equal(state_lock(want[i], &fd), 0);
		close(fd);
	}
	put_file("file", "");
	assert_int_equal(state_write_udev(0, &p), 0);
	assert_int_equal(state_list(&names), 0);
	for (; names[n]; n++) {
		assert_true(n < ARRAY_SIZE(want));
		assert_string_equal(names[n], want[n]);
	}
	assert_int_equal(n, ARRAY_SIZE(want));
}

static void test_udev_file(void **state)
{
	struct udev_properties p = {
		.name = "data",
		.backend = "file",
		.serial = "s-1",
		.owner = "qemu",
		.group = "disk",
		.mode = 0660,
		.watch = true,
	};

	assert_int_equal(state_write_udev(7, &p), 0);
	assert_file("udev/ublkb7", "UBLK_NAME=data\nUBLK_TYPE=file\nUBLK_SERIAL=s-1\n"
				   "UBLK_OWNER=qemu\nUBLK_GROUP=disk\nUBLK_WATCH=1\n"
				   "UBLK_MODE=0660\n");
	assert_int_equal(mode_of("udev"), 0755);
	assert_int_equal(mode_of("udev/ublkb7"), 0644);

	p = (struct udev_properties){.name = "data", .backend = "null", .mode = UINT32_MAX};
	assert_int_equal(state_write_udev(7, &p), 0);
	assert_file("udev/ublkb7", "UBLK_NAME=data\nUBLK_TYPE=null\nUBLK_WATCH=0\n");

	assert_int_equal(state_write_udev(77, &p), 0);
	put_file("udev/.#ublkb7.00000000", "left by a killed writer");
	put_file("udev/.#ublkb77.00000000", "left by another");
	assert_int_equal(state_remove_udev(7), 0);
	assert_int_equal(access(path("udev/.#ublkb7.00000000"), F_OK), -1);
	assert_int_equal(access(path("udev/.#ublkb77.00000000"), F_OK), 0);
	assert_int_equal(access(path("udev/ublkb7"), F_OK), -1);
	assert_int_equal(access(path("udev/ublkb77"), F_OK), 0);
	assert_int_equal(state_remove_udev(7), 0);
}

static void test_udev_file_takes_no_odd_values(void **state)
{
	const char *const odd[] = {"a\nB=1", "a\"", "'a", "a\\", "\t", "a\x7f"};
	struct udev_properties p = {.name = "data", .backend = "null", .mode = UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		p.serial = odd[i];
		assert_int_equal(state_write_udev(7, &p), -EINVAL);
	}
	assert_int_equal(access(path("udev/ublkb7"), F_OK), -1);
}

static void test_reload_round_trip(void **state)
{
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *text = NULL, *again = NULL, *huge = NULL;
	uint64_t n = 7;
	int result = 7;

	assert_int_equal(state_write_reload("data", 1, 0, ""), -ENOENT);
	assert_int_equal(state_lock("data", &fd), 0);
	assert_int_equal(state_read_reload("data", &n, &result, &text), -ENOENT);
	assert_int_equal(state_write_reload("data", 1, 0, ""), 0);
	assert_file("data/reload", "1\n0\n\n");
	assert_int_equal(state_read_reload("data", &n, &result, &text), 0);
	assert_int_equal(n, 1);
	assert_int_equal(result, 0);
	assert_string_equal(text, "");
	assert_int_equal(state_write_reload("data", UINT64_MAX, -EUCLEAN, "a\nb\x7f \xc3\xa9\t"),
			 0);
	assert_int_equal(mode_of("data/reload"), 0644);
	assert_int_equal(state_read_reload("data", &n, &result, &again), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(result, -EUCLEAN);
	assert_string_equal(again, "a b  \xc3\xa9 ");

	huge = malloc(100001);
	assert_non_null(huge);
	memset(huge, 'x', 100000);
	huge[100000] = '\0';
	assert_int_equal(state_write_reload("data", 2, 0, huge), 0);
	free(TAKE_PTR(again));
	assert_int_equal(state_read_reload("data", &n, &result, &again), 0);
	assert_int_equal(strspn(again, "x"), strlen(again));
	assert_true(strlen(again) >= 1000);
}

static void test_spoiled_reload_is_refused(void **state)
{
	const char *const spoiled[] = {
		"",
		"1",
		"1\n0",
		"1\n0\n",
		"1\n0\ntext",
		"x\n0\nt\n",
		"-1\n0\nt\n",
		"1\n-5\nt\n",
		"1\n4096\nt\n",
		"1\n0\nt\nmore\n",
		"\n0\nt\n",
		"1\n\nt\n",
		"1 \n0\nt\n",
		"18446744073709551616\n0\nt\n",
	};
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int fd = -1;
	uint64_t n;
	int result;

	assert_int_equal(state_lock("data", &fd), 0);
	for (size_t i = 0; i < ARRAY_SIZE(spoiled); i++) {
		put_file("data/reload", spoiled[i]);
		assert_int_equal(state_read_reload("data", &n, &result, &text), -EBADMSG);
		assert_null(text);
	}
}

static void test_manager_is_no_device(void **state)
{
	AUTO(state_list_free) char **names = NULL;
	AUTO_CLOSE int manager = -1, data = -1;
	AUTO_FREE char *text = NULL;
	uint64_t n;
	int result;
	pid_t pid;

	assert_int_equal(state_lock(".managers", &manager), -EINVAL);
	assert_int_equal(state_lock(STATE_MANAGER, &manager), 0);
	assert_int_equal(state_get_owner(STATE_MANAGER, &pid), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(state_write_reload(STATE_MANAGER, 3, 0, "2 devices added"), 0);
	assert_int_equal(state_read_reload(STATE_MANAGER, &n, &result, &text), 0);
	assert_string_equal(text, "2 devices added");
	assert_int_equal(state_lock("data", &data), 0);
	assert_int_equal(state_list(&names), 0);
	assert_string_equal(names[0], "data");
	assert_null(names[1]);
	assert_int_equal(state_remove(STATE_MANAGER, UINT32_MAX), 0);
	assert_int_equal(access(path(STATE_MANAGER), F_OK), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cookie_is_fnv1a_and_never_0),
		TEST(test_boot_id),
		TEST(test_lock_makes_what_it_needs),
		TEST(test_name_has_one_server),
		TEST(test_dead_owner_is_nobody),
		TEST(test_lock_file_is_not_believed),
		TEST(test_removed_lock_is_free_for_the_next),
		TEST(test_lock_and_remove_in_many_processes),
		TEST(test_looking_does_not_disturb_a_start),
		TEST(test_state_round_trip),
		TEST(test_absent_texts_come_back_empty),
		TEST(test_state_that_means_nothing_is_not_written),
		TEST(test_unknown_keys_are_passed_over),
		TEST(test_half_written_state_is_refused),
		TEST(test_spoiled_state_is_refused),
		TEST(test_state_of_nobody),
		TEST(test_huge_state_is_refused),
		TEST(test_names_stay_in_their_directory),
		TEST(test_link_is_no_directory),
		TEST(test_remove_leaves_nothing),
		TEST(test_list),
		TEST(test_udev_file),
		TEST(test_udev_file_takes_no_odd_values),
		TEST(test_reload_round_trip),
		TEST(test_spoiled_reload_is_refused),
		TEST(test_manager_is_no_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
