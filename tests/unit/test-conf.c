/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines, and what tables make of values: conf/ini.c, conf/conf.c, conf/conf-names.c, conf/diag.c. */
#include "conf-helper.h"

#include "conf/conf.h"
#include "util/parse.h"

/* Reads text as the file "f" and compares the messages. */
static void read_text(struct conf_doc *doc, const char *text, size_t len, const char *expected)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};

	assert_int_equal(conf_doc_read_text(doc, "f", text, len, &diag), 0);
	assert_diag(&diag, "", expected);
}

static void check_lines(const char *text, const char *expected)
{
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};

	read_text(&doc, text, strlen(text), expected);
}

static void assert_value(const struct conf_doc *doc, const char *section, const char *key,
			 const char *value, unsigned line)
{
	const struct conf_value *v = conf_doc_find(doc, section, key);

	assert_non_null(v);
	assert_string_equal(v->value, value);
	assert_int_equal(v->place.line, line);
	assert_string_equal(v->place.section, section);
	assert_string_equal(v->place.key, key);
}

static void test_value_runs_to_the_end_of_the_line(void **state)
{
	static const char text[] = "# Path=/a\n"
				   "; Path=/b\n"
				   "\n"
				   "[Backend]\n"
				   "Path = \t/c ;d # e = [f]: g \t\n"
				   "Key-2=\n"
				   "Key_3==:;#";
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};

	read_text(&doc, text, strlen(text), "");
	assert_value(&doc, "Backend", "Path", "/c ;d # e = [f]: g", 5);
	assert_value(&doc, "Backend", "Key-2", "", 6);
	assert_value(&doc, "Backend", "Key_3", "=:;#", 7);
	assert_null(conf_doc_find(&doc, "Backend", "Key"));
	assert_null(conf_doc_find(&doc, "Device", "Path"));
}

static void test_bom_and_crlf_are_no_text(void **state)
{
	static const char text[] = "\xef\xbb\xbf[A]\r\nB=1\r\n\r\n \t\r\nC=2\r\n";
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};

	read_text(&doc, text, strlen(text), "");
	assert_value(&doc, "A", "B", "1", 2);
	assert_value(&doc, "A", "C", "2", 5);
	check_lines("[A]\n\xef\xbb\xbfX=1\n",
		    "f:2: [A] not a line \"Key=Value\": \"\xef\xbb\xbfX=1\"\n");
}

static void test_names_and_lines_are_never_cut(void **state)
{
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};
	char text[2 * CONF_LINE_MAX], name[CONF_NAME_MAX + 2], value[CONF_LINE_MAX];

	memset(name, 'n', sizeof(name));
	name[CONF_NAME_MAX] = '\0';
	memset(value, 'v', sizeof(value));
	value[CONF_LINE_MAX - CONF_NAME_MAX - 1] = '\0';
	snprintf(text, sizeof(text), "[%s]\n%s=%s\n", name, name, value);
	read_text(&doc, text, strlen(text), "");
	assert_value(&doc, name, name, value, 2);
	conf_doc_deinit(&doc);

	snprintf(text, sizeof(text), "[A]\n%s=v%s\nB=1\n", name, value);
	read_text(&doc, text, strlen(text), "f:2: [A] line of 4097 bytes is longer than 4096\n");
	assert_value(&doc, "A", "B", "1", 3);

	name[CONF_NAME_MAX] = 'n';
	name[CONF_NAME_MAX + 1] = '\0';
	snprintf(text, sizeof(text), "[A]\n%s=1\n", name);
	snprintf(value, sizeof(value), "f:2: [A] name of key is longer than 64 bytes: \"%s\"\n",
		 name);
	check_lines(text, value);
	snprintf(text, sizeof(text), "[%s]\nA=1\n", name);
	snprintf(value, sizeof(value), "f:1: name of section is longer than 64 bytes: \"%s\"\n",
		 name);
	check_lines(text, value);
}

/* Two names that are the same for 49 bytes are one for the packaged inih. */
static void test_long_names_stay_apart(void **state)
{
	static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};
	char text[512], name[80];

	snprintf(text, sizeof(text), "[%s1]\n%s1=1\n%s2=2\n[%s2]\n%s1=3\n", a, a, a, a, a);
	read_text(&doc, text, strlen(text), "");
	snprintf(name, sizeof(name), "%s1", a);
	assert_value(&doc, name, name, "1", 2);
	snprintf(name, sizeof(name), "%s2", a);
	assert_null(conf_doc_find(&doc, name, name));
}

static void test_bad_lines_are_named(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} cases[] = {
		{"[A]\nB=1\n  c\nD=2\n", "f:3: [A] line is indented: a key stands at the start of "
					 "its line, and no value goes on in the next\n"},
		{"[A]\nB=1\n\t# c\n", "f:3: [A] line is indented: a key stands at the start of "
				      "its line, and no value goes on in the next\n"},
		{"B=1\nC=2\n", "f:1: \"B=\" stands before the first section\n"
			       "f:2: \"C=\" stands before the first section\n"},
		{"[A]\nB\n", "f:2: [A] not a line \"Key=Value\": \"B\"\n"},
		{"[A]\n=1\n", "f:2: [A] not a line \"Key=Value\": \"=1\"\n"},
		{"[A]\nB:1\n", "f:2: [A] not a line \"Key=Value\": \"B:1\"\n"},
		{"[A]\nB:C=1\n", "f:2: [A] not a line \"Key=Value\": \"B:C=1\"\n"},
		{"[A]\nB C=1\n", "f:2: [A] not a line \"Key=Value\": \"B C=1\"\n"},
		{"[A]\n\"B\"=1\n", "f:2: [A] not a line \"Key=Value\": \"\"B\"=1\"\n"},
		/* The keys of a section that is none are not worth a message each. */
		{"[A\nB=1\nC=2\n", "f:1: not a section: \"[A\" (expected \"[Name]\" and nothing "
				   "behind it)\n"},
		{"[A] # x\n", "f:1: not a section: \"[A] # x\" (expected \"[Name]\" and nothing "
			      "behind it)\n"},
		{"[A]]\n", "f:1: not a section: \"[A]]\" (expected \"[Name]\" and nothing "
			   "behind it)\n"},
		{"[]\nB=1\n", "f:1: not a name of a section: \"\"\n"},
		{"[A;B]\n", "f:1: not a name of a section: \"A;B\"\n"},
		{"[", "f:1: not a section: \"[\" (expected \"[Name]\" and nothing behind it)\n"},
		{"[A]\nB=1\nB=2\n", "f:3: [A] B=: given twice in this file, first in line 2\n"},
		{"[A]\nB=1\n[C]\nB=2\n[A]\nB=\n",
		 "f:6: [A] B=: given twice in this file, first in line 2\n"},
		{"[A]\nB=\x1b[31m\n", "f:2: [A] control character 0x1b in column 3\n"},
		{"[A]\nB=\x7f\n", "f:2: [A] control character 0x7f in column 3\n"},
		{"[A]\nB=a\rb\n", "f:2: [A] control character 0x0d in column 4\n"},
		{"[A]\nB=\xff\n", "f:2: [A] line is not UTF-8\n"},
		{"# \xff\n", "f:1: line is not UTF-8\n"},
		{"[A]\nb=1\nB=1\n", ""},
		{"[X-a]\nB=1\nB=2\n[A]\nX-B=1\nX-B=2\n", ""},
		{"", ""},
		{"\n", ""},
		{"\xef\xbb\xbf", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_lines(cases[i].text, cases[i].expected);
}

static void test_nul_byte_is_named(void **state)
{
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};

	read_text(&doc, "[A]\nB=x\0y\nC=1\0", 15,
		  "f:2: [A] NUL byte in column 4\n"
		  "f:3: [A] NUL byte in column 4\n");
	assert_null(conf_doc_find(&doc, "A", "B"));
}

static void test_a_later_file_overrides(void **state)
{
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};

	read_text(&doc, "[A]\nB=1\nC=1\n", 12, "");
	read_text(&doc, "[A]\n\nB=2\n", 9, "");
	assert_value(&doc, "A", "B", "2", 3);
	assert_value(&doc, "A", "C", "1", 3);
}

static void test_file_that_is_none_is_named(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};
	char *dir = make_dir(), path[512], *big;

	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(conf_doc_read_file(&doc, path, &diag), -ENOTSUP);
	assert_int_equal(conf_doc_read_file(&doc, dir, &diag), -EISDIR);
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(conf_doc_read_file(&doc, path, &diag), -ENOENT);

	big = malloc(CONF_FILE_MAX + 2);
	assert_non_null(big);
	memset(big, '\n', CONF_FILE_MAX);
	big[CONF_FILE_MAX] = '\0';
	write_file(dir, "big", big);
	snprintf(path, sizeof(path), "%s/big", dir);
	assert_int_equal(conf_doc_read_file(&doc, path, &diag), 0);
	big[CONF_FILE_MAX] = '\n';
	big[CONF_FILE_MAX + 1] = '\0';
	write_file(dir, "big", big);
	assert_int_equal(conf_doc_read_file(&doc, path, &diag), -EFBIG);
	free(big);

	assert_diag(&diag, dir,
		    "/fifo: is not a regular file\n"
		    ": cannot be read: Is a directory\n"
		    "/none: cannot be read: No such file or directory\n"
		    "/big: is larger than 65536 bytes\n");
	remove_dir(dir);
}

struct thing {
	bool flag;
	uint32_t count;
	uint32_t block_bytes;
	uint64_t size_bytes;
	uint64_t rate;
	uint64_t span_ns;
	uint32_t share_ppm;
	unsigned color;
	unsigned options;
	uint32_t mode;
	char *text;
	char *path;
};

#define FIELD(field) CONF_FIELD(struct thing, field)

static const struct conf_name color_names[] = {{"red", 1}, {"green", 2}, {0}};
static const struct conf_name option_names[] = {{"ro", 1}, {"_net", 2}, {"x.y", 4}, {0}};
static const struct conf_name auto_name[] = {{"auto", 0}, {0}};
static const struct conf_name zero_name[] = {{"0", 0}, {0}};

static const struct conf_key thing_keys[] = {
	{"Flag", conf_parse_bool, FIELD(flag), .fallback = "yes"},
	{"Count", conf_parse_number, FIELD(count), .min = 1, .max = 16, .names = auto_name,
	 .fallback = "4", .common = true},
	{"Block", conf_parse_size, FIELD(block_bytes)},
	{"Size", conf_parse_size, FIELD(size_bytes), .min = 512, .max = 64 << 20},
	{"Color", conf_parse_enum, FIELD(color), .names = color_names, .fallback = "green"},
	{"Options", conf_parse_flags, FIELD(options), .names = option_names},
	{"Mode", conf_parse_mode, FIELD(mode), .max = 0777},
	{"Text", conf_parse_string, FIELD(text), .max = 5},
	{"Path", conf_parse_path, FIELD(path), .required = true},
	{"Rate", conf_parse_size, FIELD(rate), .min = 4096, .names = zero_name, .fallback = "0",
	 .common = true, .common_name = "ThingRate"},
	{"Span", conf_parse_duration, FIELD(span_ns), .min = NS_PER_S, .max = 90 * NS_PER_S,
	 .fallback = "30s"},
	{"Share", conf_parse_percent, FIELD(share_ppm), .fallback = "0%"},
	{0},
};

/* Fills a struct from text (and [Defaults] from another) and compares the messages. */
static void fill(struct thing *t, const char *text, const char *defaults, const char *expected)
{
	AUTO(conf_doc_deinit) struct conf_doc doc = {0}, defaults_doc = {0};
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	const struct conf_section section = {.name = "A", .keys = thing_keys, .obj = t};

	*t = (struct thing){0};
	assert_int_equal(conf_doc_read_text(&doc, "f", text, strlen(text), &diag), 0);
	assert_int_equal(conf_doc_read_text(&defaults_doc, "d", defaults, strlen(defaults), &diag),
			 0);
	conf_check_names(&doc, &section, 1, &diag);
	assert_int_equal(conf_fill(&doc, &defaults_doc, &section, &diag), 0);
	conf_diag_sort(&diag);
	assert_diag(&diag, "", expected);
}

static void test_table_fills_every_kind_of_field(void **state)
{
	struct thing t;

	fill(&t,
	     "[A]\nFlag=off\nCount=16\nBlock=4K\nSize=64M\nColor=red\nOptions= x.y \t ro\n"
	     "Mode=0640\nText=h \xc3\xa4\nPath=//a/./b/\nRate=8E\nSpan=1min 1500ms\n"
	     "Share=0.5%\n",
	     "", "");
	assert_false(t.flag);
	assert_int_equal(t.count, 16);
	assert_int_equal(t.block_bytes, 4096);
	assert_int_equal(t.size_bytes, 64 << 20);
	assert_int_equal(t.color, 1);
	assert_int_equal(t.options, 5);
	assert_int_equal(t.mode, 0640);
	assert_int_equal(t.rate, 8ULL << 60);
	assert_int_equal(t.span_ns, 61500000000);
	assert_int_equal(t.share_ppm, 5000);
	assert_string_equal(t.text, "h \xc3\xa4");
	assert_string_equal(t.path, "/a/b");
	conf_clear(thing_keys, &t);
	assert_null(t.text);
	assert_null(t.path);
}

static void test_empty_value_leads_back_to_the_default(void **state)
{
	struct thing t;

	fill(&t, "[A]\nFlag=\nCount=\nSize=\nColor=\nText=\nPath=/a\n", "", "");
	assert_true(t.flag);
	assert_int_equal(t.count, 4);
	assert_int_equal(t.size_bytes, 0);
	assert_int_equal(t.color, 2);
	assert_null(t.text);
	conf_clear(thing_keys, &t);

	fill(&t, "[A]\nCount=\nPath=/a\n", "[Defaults]\nCount=7\nFlag=no\n", "");
	assert_int_equal(t.count, 7);
	assert_true(t.flag); /* not a common key */
	conf_clear(thing_keys, &t);

	fill(&t, "[A]\nCount=3\nPath=/a\n", "[Defaults]\nCount=7\n", "");
	assert_int_equal(t.count, 3);
	conf_clear(thing_keys, &t);

	fill(&t, "[A]\nCount=auto\nPath=/a\n", "[Defaults]\nCount=7\n", "");
	assert_int_equal(t.count, 0);
	conf_clear(thing_keys, &t);
}

static void test_key_may_have_another_name_for_all(void **state)
{
	static const char rates[] = "[Defaults]\nThingRate=8K\nRate=16K\n";
	struct thing t;

	fill(&t, "[A]\nPath=/a\n", rates, "");
	assert_int_equal(t.rate, 8192);
	conf_clear(thing_keys, &t);
	/* The word that is out of range. */
	fill(&t, "[A]\nPath=/a\nRate=0\n", rates, "");
	assert_int_equal(t.rate, 0);
	conf_clear(thing_keys, &t);
}

static void test_required_points_to_where_it_was_taken_away(void **state)
{
	struct thing t;

	fill(&t, "[A]\nPath=\n", "", "f:2: [A] Path=: is required\n");
	fill(&t, "[A]\n", "", "f: [A] Path=: is required\n");
}

static void test_bad_values_are_named(void **state)
{
	static const struct {
		const char *line;
		const char *expected;
	} cases[] = {
		{"Flag=maybe", "Flag=: \"maybe\" is not yes or no"},
		{"Flag=yes # really", "Flag=: \"yes # really\" is not yes or no; a comment needs a "
				      "line of its own"},
		{"Count=0", "Count=: 0 is below 1"},
		{"Count=17", "Count=: 17 is above 16"},
		{"Count=99999999999999999999", "Count=: 99999999999999999999 is above 16"},
		{"Count=many", "Count=: \"many\" is not a number or one of: auto"},
		{"Block=4G", "Block=: 4G is above 4294967295"},
		{"Size=511", "Size=: 511 is below 512"},
		{"Size=128M", "Size=: 128M is above 64M"},
		{"Size=16E", "Size=: 16E is above 64M"},
		{"Size=1g",
		 "Size=: \"1g\" is not a size, as in 4096, 512K, 100G (K M G T P E, base "
		 "1024)"},
		{"Color=blue", "Color=: \"blue\" is not known to this version; values are: red, "
			       "green"},
		{"Color=Red", "Color=: \"Red\" is not known to this version; values are: red, "
			      "green"},
		{"Options=ro,x.y", "Options=: \"ro,x.y\" is not known to this version; values are: "
				   "ro, _net, x.y"},
		{"Options=ro rw", "Options=: \"rw\" is not known to this version; values are: ro, "
				  "_net, x.y"},
		{"Mode=0888", "Mode=: \"0888\" is not an access mode in octal digits, as in 0660"},
		{"Mode=4755", "Mode=: 4755 is above 0777"},
		{"Rate=4095", "Rate=: 4095 is below 4K"},
		{"Rate=16E", "Rate=: 16E is above 18446744073709551615"},
		{"Span=999ms", "Span=: 999ms is below 1s"},
		{"Span=2min", "Span=: 2min is above 90s"},
		{"Span=99999999999w", "Span=: 99999999999w is above 90s"},
		{"Span=soon", "Span=: \"soon\" is not a time span, as in 500ms, 30s, 1min 30s"},
		{"Share=101%", "Share=: 101% is above 100%"},
		{"Share=5", "Share=: \"5\" is not a percentage, as in 5%, 0.1% (up to 4 digits "
			    "behind the point)"},
		{"Text=sixsix", "Text=: is longer than 5 bytes"},
		{"Pth=/x", "Pth=: unknown key, did you mean Path=?"},
		{"path=/x", "path=: unknown key, did you mean Path=?"},
		{"Apth=/x", "Apth=: unknown key, did you mean Path=?"},
		{"Optios=ro", "Optios=: unknown key, did you mean Options=?"},
		{"Weather=fine", "Weather=: unknown key"},
	};
	struct thing t;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[256], expected[256];

		snprintf(text, sizeof(text), "[A]\nPath=/a\n%s\n", cases[i].line);
		snprintf(expected, sizeof(expected), "f:3: [A] %s\n", cases[i].expected);
		fill(&t, text, "", expected);
		conf_clear(thing_keys, &t);
	}
	fill(&t, "[A]\nPath=a/b\n", "",
	     "f:2: [A] Path=: \"a/b\" is not an absolute path without "
	     "\"..\"\n");
	fill(&t, "[A]\nPath=/a\n", "[Defaults]\nCount=99\n",
	     "d:2: [Defaults] Count=: 99 is above 16\n");
	conf_clear(thing_keys, &t);
}

/* Tables of one section for several values of Type=, two of which know Path=. */
static void test_key_of_another_type_is_named(void **state)
{
	static const struct conf_key disk_keys[] = {
		{"Path", conf_parse_path, FIELD(path)},
		{"Blocks", conf_parse_number, FIELD(count)},
		{0},
	};
	static const char text[] = "[A]\nPath=/a\nBlocks=1\nBlock=1\nBlocksy=1\n";
	const struct conf_section sections[] = {
		{.name = "A", .keys = disk_keys, .only_with = "disk"},
		{.name = "A", .keys = (const struct conf_key[]){thing_keys[8], {0}}},
	};
	AUTO(conf_diag_deinit) struct conf_diag diag = {0};
	AUTO(conf_doc_deinit) struct conf_doc doc = {0};

	assert_string_equal(thing_keys[8].name, "Path");
	assert_int_equal(conf_doc_read_text(&doc, "f", text, strlen(text), &diag), 0);
	conf_check_names(&doc, sections, ARRAY_SIZE(sections), &diag);
	/* No suggestion that would be refused next. */
	assert_diag(&diag, "",
		    "f:3: [A] Blocks=: is a key of Type=disk only\n"
		    "f:4: [A] Block=: unknown key\n"
		    "f:5: [A] Blocksy=: unknown key\n");
}

/* Known values of FNV-1a: another version has to get the same from the same text. */
static void test_digests_last(void **state)
{
	assert_int_equal(conf_digest_text(CONF_DIGEST_INIT, ""), 0xaf63bd4c8601b7dfULL);
	assert_int_not_equal(conf_digest_text(CONF_DIGEST_INIT, "a"),
			     conf_digest_text(CONF_DIGEST_INIT, "b"));
}

static void test_suggestions_are_near(void **state)
{
	static const char *const names[] = {"Depth", "Count", "MaxIO", "CopyMode", "Mode", NULL};

	assert_string_equal(conf_suggest("depth", names), "Depth");
	assert_string_equal(conf_suggest("Dept", names), "Depth");
	assert_string_equal(conf_suggest("Depths", names), "Depth");
	assert_string_equal(conf_suggest("Detph", names), "Depth");
	assert_string_equal(conf_suggest("MaxI0", names), "MaxIO");
	assert_string_equal(conf_suggest("CopyMod", names), "CopyMode");
	assert_string_equal(conf_suggest("Pth", (const char *const[]){"Paths", "Path", NULL}),
			    "Path");
	assert_string_equal(conf_suggest("Pth", (const char *const[]){"Path", "Paths", NULL}),
			    "Path");
	assert_null(conf_suggest("Death-Star", names));
	assert_null(conf_suggest("", names));
	assert_null(conf_suggest("M", names));
	/* Longer than any name. */
	assert_null(conf_suggest(
		"DepthDepthDepthDepthDepthDepthDepthDepthDepthDepthDepthDepthDepth", names));
}

static void test_messages_are_sorted_and_said_once(void **state)
{
	AUTO(conf_diag_deinit) struct conf_diag d = {0};
	struct conf_place place = {.file = "b", .line = 7};

	conf_diag_add_file(&d, "b");
	conf_diag_add_file(&d, "a");
	conf_error(&d, &(struct conf_place){.file = "a", .line = 1}, "five");
	conf_error(&d, &(struct conf_place){.file = "b", .section = "S"}, "four");
	conf_error(&d, &place, "two");
	conf_warning(&d, &place, "three");
	conf_error(&d, &(struct conf_place){.file = "b", .line = 2, .key = "K"}, "one");
	conf_error(&d, &place, "two");
	assert_int_equal(d.n_errors, 4);
	assert_int_equal(d.n_reported, 5);
	conf_diag_sort(&d);
	assert_diag(&d, "",
		    "b:2: K=: one\n"
		    "b:7: two\n"
		    "b:7: warning: three\n"
		    "b: [S] four\n"
		    "a:1: five\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_value_runs_to_the_end_of_the_line),
		cmocka_unit_test(test_bom_and_crlf_are_no_text),
		cmocka_unit_test(test_names_and_lines_are_never_cut),
		cmocka_unit_test(test_long_names_stay_apart),
		cmocka_unit_test(test_bad_lines_are_named),
		cmocka_unit_test(test_nul_byte_is_named),
		cmocka_unit_test(test_a_later_file_overrides),
		cmocka_unit_test(test_file_that_is_none_is_named),
		cmocka_unit_test(test_table_fills_every_kind_of_field),
		cmocka_unit_test(test_empty_value_leads_back_to_the_default),
		cmocka_unit_test(test_key_may_have_another_name_for_all),
		cmocka_unit_test(test_required_points_to_where_it_was_taken_away),
		cmocka_unit_test(test_bad_values_are_named),
		cmocka_unit_test(test_key_of_another_type_is_named),
		cmocka_unit_test(test_digests_last),
		cmocka_unit_test(test_suggestions_are_near),
		cmocka_unit_test(test_messages_are_sorted_and_said_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
