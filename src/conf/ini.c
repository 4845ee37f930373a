/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The line reader between our files and inih.
 *
 * The packaged inih (r55 to r58) cuts lines after 199 bytes, names and sections after 49, takes what
 * follows " ;" for a comment and an indented line for more of the value above, and does not say
 * where it is. So it never sees our lines. ini_next_line() takes each one, refuses what is no line of
 * ours, keeps section, value and line number, and hands on "[Section]" or "Key=", which fit. The
 * handler then puts together the key that inih found with what was kept.
 */
#include "conf/ini.h"

#include <ctype.h>
#include <fcntl.h>
#include <ini.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fd.h"
#include "util/parse.h"

struct ini_reader {
	struct conf_doc *doc;
	struct conf_diag *diag;
	const char *file;
	size_t first; /* value of this file in doc */
	const char *pos;
	const char *end;
	unsigned line;
	char section[CONF_NAME_MAX + 1]; /* "": none yet, or a bad one */
	bool in_bad_section;             /* said once: its keys are not worth a message each */
	const char *value;
	size_t value_len;
	int r;
};

void conf_doc_deinit(struct conf_doc *doc)
{
	for (size_t i = 0; i < doc->n_values; i++)
		free(doc->values[i].text);
	for (size_t i = 0; i < doc->n_files; i++)
		free(doc->files[i]);
	free(doc->values);
	free(doc->files);
	*doc = (struct conf_doc){0};
}

bool conf_name_is_private(const char *name)
{
	return name[0] == 'X' && name[1] == '-';
}

const struct conf_value *conf_doc_find(const struct conf_doc *doc, const char *section,
				       const char *key)
{
	for (size_t i = doc->n_values; i-- > 0;) {
		const struct conf_place *p = &doc->values[i].place;

		if (p->key && strcmp(p->key, key) == 0 && strcmp(p->section, section) == 0)
			return &doc->values[i];
	}
	return NULL;
}

const struct conf_value *conf_doc_find_section(const struct conf_doc *doc, const char *section)
{
	for (size_t i = doc->n_values; i-- > 0;) {
		const struct conf_value *v = &doc->values[i];

		if (!v->place.key && strcmp(v->place.section, section) == 0)
			return v;
	}
	return NULL;
}

static int conf_doc_add_file(struct conf_doc *doc, const char *path, const char **ret)
{
	char **files = reallocarray(doc->files, doc->n_files + 1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	doc->files = files;
	files[doc->n_files] = strdup(path);
	if (!files[doc->n_files])
		return -ENOMEM;
	*ret = files[doc->n_files++];
	return 0;
}

/* key is NULL for a heading. */
static int conf_doc_add(struct ini_reader *rd, const char *key, const char *value, size_t value_len)
{
	struct conf_doc *doc = rd->doc;
	size_t section_size = strlen(rd->section) + 1, key_size = key ? strlen(key) + 1 : 0;
	struct conf_value *values;
	char *text;

	values = reallocarray(doc->values, doc->n_values + 1, sizeof(*values));
	if (!values)
		return -ENOMEM;
	doc->values = values;
	text = malloc(section_size + key_size + value_len + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text, rd->section, section_size);
	if (key)
		memcpy(text + section_size, key, key_size);
	if (value_len > 0)
		memcpy(text + section_size + key_size, value, value_len);
	text[section_size + key_size + value_len] = '\0';
	values[doc->n_values++] = (struct conf_value){
		.place = {.file = rd->file,
			  .line = rd->line,
			  .section = text,
			  .key = key ? text + section_size : NULL},
		.value = text + section_size + key_size,
		.text = text,
	};
	return 0;
}

static struct conf_place ini_place(const struct ini_reader *rd, const char *key)
{
	return (struct conf_place){.file = rd->file,
				   .line = rd->line,
				   .section = rd->section[0] ? rd->section : NULL,
				   .key = key};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A line is text, whatever else it is. */
static bool ini_check_text(struct ini_reader *rd, const char *s, size_t len)
{
	struct conf_place place = ini_place(rd, NULL);

	if (len > CONF_LINE_MAX) {
		conf_error(rd->diag, &place, "line of %zu bytes is longer than %d", len,
			   CONF_LINE_MAX);
		return false;
	}
	if (!utf8_is_valid(s, len)) {
		conf_error(rd->diag, &place, "line is not UTF-8");
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c >= 0x20 && c != 0x7f) || c == '\t')
			continue;
		if (c)
			conf_error(rd->diag, &place, "control character 0x%02x in column %zu", c,
				   i + 1);
		else
			conf_error(rd->diag, &place, "NUL byte in column %zu", i + 1);
		return false;
	}
	return true;
}

static bool ini_name_is_valid(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isascii((unsigned char)s[i]) ||
		    !(isalnum((unsigned char)s[i]) || s[i] == '-' || s[i] == '_'))
			return false;
	return len > 0;
}

/* "[Section]", stripped on the right. */
static bool ini_take_heading(struct ini_reader *rd, const char *s, size_t len)
{
	struct conf_place place;

	rd->section[0] = '\0';
	rd->in_bad_section = true;
	place = ini_place(rd, NULL);
	if (s[len - 1] != ']' || memchr(s, ']', len) != s + len - 1) {
		conf_error(rd->diag, &place,
			   "not a section: \"%.*s\" (expected \"[Name]\" and nothing behind it)",
			   (int)len, s);
		return false;
	}
	s++;
	len -= 2;
	if (len > CONF_NAME_MAX) {
		conf_error(rd->diag, &place, "name of section is longer than %d bytes: \"%.*s\"",
			   CONF_NAME_MAX, (int)len, s);
		return false;
	}
	if (!ini_name_is_valid(s, len)) {
		conf_error(rd->diag, &place, "not a name of a section: \"%.*s\"", (int)len, s);
		return false;
	}
	memcpy(rd->section, s, len);
	rd->section[len] = '\0';
	rd->in_bad_section = false;
	rd->r = conf_doc_add(rd, NULL, NULL, 0);
	return true;
}

/* Leaves the length of the key, 0 if the line is refused. */
static size_t ini_take_assignment(struct ini_reader *rd, const char *s, size_t len)
{
	struct conf_place place = ini_place(rd, NULL);
	const char *equal = memchr(s, '=', len);
	size_t key_len = equal ? (size_t)(equal - s) : len;

	while (key_len > 0 && is_blank(s[key_len - 1]))
		key_len--;
	if (key_len > CONF_NAME_MAX && equal) {
		conf_error(rd->diag, &place, "name of key is longer than %d bytes: \"%.*s\"",
			   CONF_NAME_MAX, (int)key_len, s);
		return 0;
	}
	if (!equal || !ini_name_is_valid(s, key_len)) {
		conf_error(rd->diag, &place, "not a line \"Key=Value\": \"%.*s\"", (int)len, s);
		return 0;
	}
	if (!rd->section[0]) {
		if (!rd->in_bad_section)
			conf_error(rd->diag, &place, "\"%.*s=\" stands before the first section",
				   (int)key_len, s);
		return 0;
	}
	rd->value = equal + 1;
	while (rd->value < s + len && is_blank(*rd->value))
		rd->value++;
	rd->value_len = (size_t)(s + len - rd->value);
	return key_len;
}

/* One line into what inih may see of it. false: nothing. */
static bool ini_take_line(struct ini_reader *rd, const char *s, size_t len, char *buf)
{
	size_t stripped = len, key_len;

	if (len > 0 && s[len - 1] == '\r')
		stripped = --len;
	if (!ini_check_text(rd, s, len))
		return false;
	while (stripped > 0 && is_blank(s[stripped - 1]))
		stripped--;
	if (stripped == 0 || *s == '#' || *s == ';')
		return false;
	if (is_blank(*s)) {
		struct conf_place place = ini_place(rd, NULL);

		conf_error(rd->diag, &place,
			   "line is indented: a key stands at the start of its line, and no value "
			   "goes on in the next");
		return false;
	}
	if (*s == '[') {
		if (!ini_take_heading(rd, s, stripped))
			return false;
		sprintf(buf, "[%s]\n", rd->section);
		return true;
	}
	key_len = ini_take_assignment(rd, s, stripped);
	if (key_len > 0)
		sprintf(buf, "%.*s=\n", (int)key_len, s);
	return key_len > 0;
}

static char *ini_next_line(char *str, int num, void *stream)
{
	struct ini_reader *rd = stream;

	/* [ or =, two more, and the NUL */
	if (num < CONF_NAME_MAX + 4)
		rd->r = -ENOBUFS;
	while (rd->r == 0 && rd->pos < rd->end) {
		const char *s = rd->pos;
		const char *eol = memchr(s, '\n', (size_t)(rd->end - s));

		rd->pos = eol ? eol + 1 : rd->end;
		rd->line++;
		if (ini_take_line(rd, s, (size_t)((eol ? eol : rd->end) - s), str))
			return rd->r < 0 ? NULL : str;
	}
	return NULL;
}

static int ini_handle(void *user, const char *section, const char *key, const char *value)
{
	struct ini_reader *rd = user;
	struct conf_place place = ini_place(rd, key);

	if (conf_name_is_private(rd->section) || conf_name_is_private(key))
		return 1;
	for (size_t i = rd->first; i < rd->doc->n_values; i++) {
		const struct conf_place *p = &rd->doc->values[i].place;

		if (!p->key || strcmp(p->key, key) != 0 || strcmp(p->section, rd->section) != 0)
			continue;
		conf_error(rd->diag, &place, "given twice in this file, first in line %u", p->line);
		return 1;
	}
	if (rd->r == 0)
		rd->r = conf_doc_add(rd, key, rd->value, rd->value_len);
	return 1; /* inih counts errors; ours are in diag */
}

int conf_doc_read_text(struct conf_doc *doc, const char *path, const char *text, size_t len,
		       struct conf_diag *diag)
{
	struct ini_reader rd = {
		.doc = doc, .diag = diag, .first = doc->n_values, .pos = text, .end = text + len};
	int r;

	conf_diag_add_file(diag, path);
	r = conf_doc_add_file(doc, path, &rd.file);
	if (r < 0)
		return r;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		rd.pos += 3;
	/* -1 and -2 are about files and memory, neither of which we let it have. */
	r = ini_parse_stream(ini_next_line, &rd, ini_handle, &rd);
	if (rd.r < 0)
		return rd.r;
	return r == -2 ? -ENOMEM : 0;
}

int conf_read_text(const char *path, char **ret, size_t *ret_len)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -ENOTSUP;
	return fd_read_file(AT_FDCWD, path, CONF_FILE_MAX, ret, ret_len);
}

int conf_doc_read_file(struct conf_doc *doc, const char *path, struct conf_diag *diag)
{
	struct conf_place place = {.file = path};
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = conf_read_text(path, &text, &len);

	conf_diag_add_file(diag, path);
	if (r == -ENOTSUP)
		conf_error(diag, &place, "is not a regular file");
	else if (r == -EFBIG)
		conf_error(diag, &place, "is larger than %d bytes", CONF_FILE_MAX);
	else if (r < 0)
		conf_error(diag, &place, "cannot be read: %s", strerror(-r));
	if (r < 0)
		return r;
	return conf_doc_read_text(doc, path, text, len, diag);
}
