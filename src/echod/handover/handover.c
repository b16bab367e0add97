/* SPDX-License-Identifier: MIT */
/*
 * How an upgrade works. The process stays, and so does everything that the kernel keeps for it: its
 * id, its children, and the descriptors that exec(3) does not close. Only memory would be lost.
 * What is in it goes over in a block, a sealed memory file.
 *
 * 1. A reload finds another program at our path (handover_is_due) and waits until the event loop
 *    is idle. sd-event reads signals ahead, and one that it has read would be lost.
 * 2. The old program writes the settings in force as the text of a configuration file, and the
 *    block, which names that file and all descriptors that matter. These are kept open then.
 * 3. Rehearsal: the new program runs as a child with the same arguments and the same
 *    descriptors. handover_restore() fills a supervisor from the block, then the child ends by
 *    _exit(2), because everything that it took is still ours: it must not unlink a socket or
 *    stop a listener. Anything that would fail later fails now. A child that is not done in five
 *    seconds is killed.
 * 4. The block is written once more, since counters and the log have moved on, and exec(3) turns
 *    this process into the new program. It starts like any other (main.c), finds the variable,
 *    and handover_restore() fills the supervisor in earnest.
 * 5. The new program reaps the children that have ended meanwhile, reads the rings, and reloads
 *    (supervise_again). That starts a listener from the program and the file on disk, and the
 *    old listeners stop when it is ready, as with any other reload.
 *
 * If 2 or 3 fails the descriptors are set to be closed again, the reload goes on without a new
 * program, and the next one tries again. After 4 there is no way back.
 *
 * The two programs may be of different versions. Values have names, and each program takes those
 * that it knows. What a listener and its workers share with us has a version of its own, which
 * each generation brings along: one of another version is a stranger (generation.h).
 */
#include "echod/handover/handover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/number.h"
#include "echod/control/control.h"
#include "echod/log/log.h"

#define REHEARSAL_DEADLINE_NS (5 * (uint64_t)CLOCK_NS_PER_S)
#define REHEARSAL_LOOK_MS 5

/* The descriptor of the block; taken out of the environment as soon as it is read. */
#define HANDOVER_VARIABLE "ECHOD_HANDOVER"

#define BLOCK_MAGIC 0x65636862u	/* "echb" */

/* This and the record below are the same in every version. */
struct block {
	uint32_t magic;
	uint32_t is_rehearsal;	/* 1: take everything, then exit */
	uint32_t record_count;	/* records that follow */
	uint32_t line_bytes;	/* of the lines after them, each with its NUL */
};

/* What the values belong to. A kind keeps its number. */
enum block_kind {
	BLOCK_SUPERVISOR,
	BLOCK_REST,
	BLOCK_SOCKET,
	BLOCK_GENERATION,	/* 0 is the newest */
	BLOCK_TALLY,		/* of generations that are gone */
};

/*
 * A value of up to 8 bytes, as the field has it. A name keeps its meaning, so programs of all
 * versions find what they know. A field that the other program does not have keeps its initial
 * value.
 */
struct block_record {
	uint32_t kind;
	uint32_t index;		/* which one of its kind */
	uint32_t part;		/* of an array */
	uint32_t bytes;
	char name[28];		/* filled up with NUL */
	char value[8];
};

/* Values that go over and are no fields of struct supervisor. */
struct block_rest {
	uint32_t socket_count;
	uint32_t generation_count;
	int settings_fd;	/* the settings in force, as the text of a file */
	int control_fd;
	gid_t control_group;
	struct unix_file control_file;
	struct log_state log;	/* without its lines, which follow the records */
};

/* A block that was checked; nothing is owned. */
struct block_view {
	const struct block *head;
	const struct block_record *records;
	const char *lines;
};

struct field {
	const char *name;
	size_t offset;
	size_t bytes;
	uint32_t count;		/* of an array */
	bool is_fd;
};

#define FIELD(type, member) \
	{ #member, offsetof(struct type, member), sizeof(((struct type *)0)->member), 1, false }
#define FD(type, member) { #member, offsetof(struct type, member), sizeof(int), 1, true }
#define COUNTER(member) FIELD(tally, member),
#define COUNTERS(member, count) \
	{ #member, offsetof(struct tally, member), sizeof(uint64_t), count, false },

static const struct field supervisor_fields[] = {
	FD(supervisor, configuration_fd),
	FD(supervisor, listener.fd),
	FIELD(supervisor, sockets.passed),
	FIELD(supervisor, generation_count),
	FIELD(supervisor, listener_restarts),
	FIELD(supervisor, events_dropped),
	FIELD(supervisor, report.suppressed),
	FIELD(supervisor, started_ns),
	FIELD(supervisor, started_realtime_us),
	FIELD(supervisor, reloaded_realtime_us),
	{0}
};

static const struct field rest_fields[] = {
	FIELD(block_rest, socket_count),
	FIELD(block_rest, generation_count),
	FD(block_rest, settings_fd),
	FD(block_rest, control_fd),
	FIELD(block_rest, control_group),
	FIELD(block_rest, control_file.device),
	FIELD(block_rest, control_file.inode),
	FIELD(block_rest, log.target),
	FIELD(block_rest, log.lost),
	FIELD(block_rest, log.lost_unsaid),
	FIELD(block_rest, log.is_torn),
	{0}
};

static const struct field socket_fields[] = {
	FD(listening_socket, fd),
	FIELD(listening_socket, is_any_port),
	FIELD(listening_socket, file.device),
	FIELD(listening_socket, file.inode),
	{0}
};

static const struct field generation_fields[] = {
	FIELD(generation, wire_version),
	FIELD(generation, number),
	FIELD(generation, state),
	FIELD(generation, stopped),
	FIELD(generation, listener_pid),
	FIELD(generation, group),
	FD(generation, channel_fd),
	FD(generation, scoreboard.table_fd),
	FD(generation, scoreboard.slots_fd),
	FD(generation, scoreboard.commands_fd),
	FIELD(generation, orphans.live),
	FIELD(generation, started_ns),
	{0}
};

static const struct field tally_fields[] = {
	TALLY_FIELDS(COUNTER, COUNTERS)
	TALLY_DATAGRAM_FIELDS(COUNTER, COUNTERS)
	{0}
};

static const struct field *const fields_of[] = {
	[BLOCK_SUPERVISOR] = supervisor_fields,
	[BLOCK_REST] = rest_fields,
	[BLOCK_SOCKET] = socket_fields,
	[BLOCK_GENERATION] = generation_fields,
	[BLOCK_TALLY] = tally_fields,
};

static struct block_record record_of(enum block_kind kind, uint32_t index,
				     const struct field *field)
{
	struct block_record record = { kind, index, 0, (uint32_t)field->bytes, "", "" };

	assert(strlen(field->name) < sizeof(record.name) && field->bytes <= sizeof(record.value));
	strcpy(record.name, field->name);
	return record;
}

/* Writes all fields of an object. Its descriptors are kept open over exec(3) from now on. */
static void block_put(FILE *stream, enum block_kind kind, uint32_t index, const void *object)
{
	for (const struct field *i = fields_of[kind]; i->name; i++) {
		const char *value = (const char *)object + i->offset;
		struct block_record record = record_of(kind, index, i);

		for (; record.part < i->count; record.part++) {
			memcpy(record.value, value + record.part * i->bytes, i->bytes);
			fwrite(&record, sizeof(record), 1, stream);
		}
		if (i->is_fd && *(const int *)value >= 0)
			fd_set_cloexec(*(const int *)value, false);
	}
}

/* Checks every count and size of a block. Returns 0 or -EBADMSG. */
static int block_view(const void *bytes, size_t size, struct block_view *ret_view)
{
	const struct block *head = bytes;
	uint64_t records, whole;

	if (size < sizeof(*head) || head->magic != BLOCK_MAGIC)
		return -EBADMSG;
	records = head->record_count * (uint64_t)sizeof(struct block_record);
	whole = sizeof(*head) + records + head->line_bytes;
	if (size != whole || (head->line_bytes && ((const char *)bytes)[size - 1]))
		return -EBADMSG;
	*ret_view = (struct block_view){
		.head = head,
		.records = (const void *)(head + 1),
		.lines = (const char *)(head + 1) + records,
	};
	return 0;
}

/* Copies the value of the record that is wanted, if there is one of this size. */
static void copy_value(const struct block_view *view, const struct block_record *wanted,
		       char *value)
{
	for (uint32_t i = 0; i < view->head->record_count; i++)
		if (!memcmp(&view->records[i], wanted, offsetof(struct block_record, value)))
			memcpy(value, view->records[i].value, wanted->bytes);
}

/*
 * Sets the fields of an object that there are values for. Then its descriptors are open, and the
 * object's, or -1.
 */
static void block_get(const struct block_view *view, enum block_kind kind, uint32_t index,
		      void *object)
{
	for (const struct field *i = fields_of[kind]; i->name; i++) {
		char *value = (char *)object + i->offset;
		struct block_record wanted = record_of(kind, index, i);

		for (; wanted.part < i->count; wanted.part++)
			copy_value(view, &wanted, value + wanted.part * i->bytes);
		if (i->is_fd && (*(int *)value <= STDERR_FILENO ||
				 fd_set_cloexec(*(int *)value, true) < 0))
			*(int *)value = -1;
	}
}

static struct {
	char path[PATH_MAX];	/* "": unknown */
	struct stat status;
	char **argv;
} program;

void handover_remember_program(char **argv)
{
	ssize_t length = readlink("/proc/self/exe", program.path, sizeof(program.path) - 1);

	assert(argv);
	program.argv = argv;
	if (length < 0 || stat("/proc/self/exe", &program.status) < 0)
		length = 0;
	program.path[length] = '\0';
}

bool handover_is_due(void)
{
	struct stat now;

	if (!*program.path || stat(program.path, &now) < 0)
		return false;
	return now.st_dev != program.status.st_dev || now.st_ino != program.status.st_ino ||
	       now.st_mtim.tv_sec != program.status.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != program.status.st_mtim.tv_nsec;
}

/* A memory file with what was written to a stream, which is closed. bytes is freed. */
static int seal(const char *name, FILE *stream, char **bytes, size_t *size)
{
	int fd = fclose(stream) == 0 ? fd_sealed_memory(name, *bytes, *size) : -errno;

	free(*bytes);
	if (fd >= 0)
		fd_set_cloexec(fd, false);
	return fd;
}

/* The settings in force as the text of a configuration file, or -errno. */
static int give_settings(const struct configuration *configuration)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return -errno;
	configuration_print(configuration, stream);
	return seal("echod-settings", stream, &text, &size);
}

static void put_all(FILE *stream, const struct supervisor *supervisor, struct block_rest *rest)
{
	struct tally retired = supervisor->retired;

	for (size_t i = 0; i < supervisor->sockets.count; i++)
		block_put(stream, BLOCK_SOCKET, rest->socket_count++,
			  &supervisor->sockets.items[i]);
	for (const struct generation *i = supervisor->generations; i; i = i->next) {
		block_put(stream, BLOCK_GENERATION, rest->generation_count++, i);
		/* Only their sum is needed. */
		tally_add(&retired, &i->adopted);
	}
	block_put(stream, BLOCK_TALLY, 0, &retired);
	block_put(stream, BLOCK_SUPERVISOR, 0, supervisor);
	block_put(stream, BLOCK_REST, 0, rest);
}

/* Returns the block or -errno. All descriptors in it stay open over exec(3) from now on. */
static int give_block(const struct supervisor *supervisor, int settings_fd, bool is_rehearsal)
{
	struct block head = { .magic = BLOCK_MAGIC, .is_rehearsal = is_rehearsal };
	struct block_rest rest = { .settings_fd = settings_fd };
	char *bytes = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&bytes, &size);

	if (!stream)
		return -errno;
	log_save(&rest.log);
	control_save(supervisor->control, &rest.control_fd, &rest.control_group,
		     &rest.control_file);
	fwrite(&head, sizeof(head), 1, stream);
	put_all(stream, supervisor, &rest);
	head.record_count = (uint32_t)(((size_t)ftell(stream) - sizeof(head)) /
				       sizeof(struct block_record));
	head.line_bytes = (uint32_t)rest.log.size;
	fwrite(rest.log.lines, 1, rest.log.size, stream);
	if (fflush(stream) == 0)
		memcpy(bytes, &head, sizeof(head));
	return seal("echod-handover", stream, &bytes, &size);
}

/* Returns the wait status of child, which is killed if it does not end in time, or -errno. */
static int wait_for(pid_t child)
{
	uint64_t deadline_ns = clock_now_ns() + REHEARSAL_DEADLINE_NS;
	int status;
	pid_t pid;

	while ((pid = waitpid(child, &status, WNOHANG)) == 0) {
		if (clock_now_ns() >= deadline_ns) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			return -ETIMEDOUT;
		}
		poll(NULL, 0, REHEARSAL_LOOK_MS);
	}
	return pid < 0 ? -errno : status;
}

/* Runs the program as a child that takes everything over and ends. Returns 0 or -errno. */
static int rehearse(void)
{
	posix_spawn_file_actions_t actions;
	pid_t child;
	int r = -posix_spawn_file_actions_init(&actions);

	if (r < 0)
		return r;
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO && r == 0; fd++)
		r = -posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	if (r == 0)
		r = -posix_spawn(&child, program.path, &actions, NULL, program.argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r == 0)
		r = wait_for(child);
	if (r <= 0)
		return r;
	log_error("%s: the rehearsal ends with wait status 0x%x", program.path, r);
	return -ENOEXEC;
}

/* Returns 0 after a rehearsal. Otherwise returns only on failure, -errno. */
static int hand_over(const struct supervisor *supervisor, int settings_fd, bool is_rehearsal)
{
	FD_CLEANUP int block_fd = give_block(supervisor, settings_fd, is_rehearsal);
	char number[16];
	int r;

	if (block_fd < 0)
		return block_fd;
	snprintf(number, sizeof(number), "%d", block_fd);
	setenv(HANDOVER_VARIABLE, number, 1);
	if (is_rehearsal)
		r = rehearse();
	else
		r = execv(program.path, program.argv) < 0 ? -errno : 0;
	unsetenv(HANDOVER_VARIABLE);
	return r;
}

int handover_execute(struct supervisor *supervisor)
{
	FD_CLEANUP int settings_fd = -1;
	int r;

	assert(*program.path);
	settings_fd = give_settings(supervisor->configuration);
	r = settings_fd < 0 ? settings_fd : hand_over(supervisor, settings_fd, true);
	if (r == 0) {
		/*
		 * Reports what the open windows have left out, since the new program starts new
		 * windows.
		 */
		report_flush(&supervisor->report, clock_now_ns() + CLOCK_NS_PER_S);
		for (struct generation *i = supervisor->generations; i; i = i->next)
			generation_report_datagrams(i, true, clock_now_ns());
		log_notice("%s has changed on disk and takes over", program.path);
		r = hand_over(supervisor, settings_fd, false);
	}
	fd_set_cloexec_from(STDERR_FILENO + 1);
	log_errno(LOG_ERR, r, "%s cannot take over, going on with the old program", program.path);
	return r;
}

int handover_take(void)
{
	const int sealed = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
	const char *text = secure_getenv(HANDOVER_VARIABLE);
	uint64_t fd;
	int taken = -1;

	/* A variable set by somebody else names no sealed file like ours. */
	if (text && number_parse(text, 3, INT32_MAX, &fd) == 0 &&
	    (fcntl((int)fd, F_GET_SEALS) & sealed) == sealed && fcntl((int)fd, F_GET_SEALS) > 0)
		taken = (int)fd;
	unsetenv(HANDOVER_VARIABLE);
	return taken;
}

static int take_sockets(struct supervisor *supervisor, const struct block_view *view,
			uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct listening_socket item = { .fd = -1 };
		int r;

		block_get(view, BLOCK_SOCKET, i, &item);
		r = item.fd < 0 ? -EBADF :
				  sockets_add(&supervisor->sockets, item.fd, item.is_any_port);
		if (r < 0)
			return r;
		/* Which file was bound there, which need not be the one that is found there. */
		block_get(view, BLOCK_SOCKET, i, &supervisor->sockets.items[i]);
	}
	return supervisor->sockets.count ? 0 : -ENOTSOCK;
}

static int load(struct supervisor *supervisor, int fd, configuration_report_fn report)
{
	/* The rehearsal has read the same open file to its end. */
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return configuration_load(supervisor->options->configuration_path, fd, 0, report, NULL,
				  &supervisor->configuration);
}

static void ignore(void *context, const char *text)
{
	(void)context;
	(void)text;
}

/*
 * Takes the settings that were in force, until the reload that follows reads the file. If they have
 * a key that this program does not know, takes the file that they came from.
 */
static int take_settings(struct supervisor *supervisor, const struct block_rest *rest)
{
	int r = load(supervisor, rest->settings_fd, ignore);

	fd_close(rest->settings_fd);
	return r < 0 ? load(supervisor, supervisor->configuration_fd, log_report) : r;
}

/* A rehearsal writes only errors, to standard error: the log belongs to its parent. */
static void take_log(const struct supervisor *supervisor, const struct block_view *view,
		     struct log_state *log)
{
	const struct configuration *configuration = supervisor->configuration;

	log_set_level(view->head->is_rehearsal ? LOG_ERR : configuration->log.level);
	if (view->head->is_rehearsal)
		return;
	log->lines = view->lines;
	log->size = view->head->line_bytes;
	log_restore(log);
	log_open(configuration->log.target, configuration->log.facility);
}

/* The workers of a dead listener are in its table as long as they live. */
static int adopt(struct generation *generation)
{
	struct scoreboard *scoreboard = &generation->scoreboard;
	int r;

	/* kill(2) takes these for more than one process, or for all of them. */
	if (generation->listener_pid < 0 || generation->group <= 1 ||
	    generation->state > GENERATION_ORPHANED)
		return -EBADMSG;
	r = scoreboard_map(scoreboard, generation_is_stranger(generation));
	if (r == 0 && scoreboard->datagrams)
		report_datagrams_skip(&generation->said_datagrams, scoreboard->datagrams);
	if (r == 0 && !generation->listener_pid && !generation_is_stranger(generation))
		r = orphans_list(scoreboard, &generation->orphans);
	return r;
}

static int take_generation(struct supervisor *supervisor, const struct block_view *view,
			   uint32_t index)
{
	struct generation *generation = generation_new();
	int r;

	if (!generation)
		return -ENOMEM;
	block_get(view, BLOCK_GENERATION, index, generation);
	r = adopt(generation);
	if (r == 0)
		r = generation_watch(generation, supervisor->loop, &supervisor->hooks);
	if (r < 0) {
		generation_free(generation);
		return r;
	}
	generation->next = supervisor->generations;
	supervisor->generations = generation;
	if (generation_is_stranger(generation))
		log_notice("listener %d is of another version, its connections are only counted",
			   generation->group);
	else if (generation->state == GENERATION_SERVING)
		supervisor->current = generation;
	return 0;
}

/*
 * Finds the program to start again if the listener dies: the one that serves, or, for a stranger,
 * the one on disk.
 */
static void take_listener(struct supervisor *supervisor)
{
	FD_CLEANUP int served_fd = fd_steal(&supervisor->listener.fd);

	program_find_listener(-1, &supervisor->listener);
	if (served_fd < 0 || (!supervisor->current && supervisor->listener.fd >= 0))
		return;
	fd_close(supervisor->listener.fd);
	supervisor->listener.fd = fd_steal(&served_fd);
}

static int take_all(struct supervisor *supervisor, const struct block_view *view)
{
	struct block_rest rest = { .settings_fd = -1, .control_fd = -1 };
	int r;

	block_get(view, BLOCK_SUPERVISOR, 0, supervisor);
	block_get(view, BLOCK_REST, 0, &rest);
	block_get(view, BLOCK_TALLY, 0, &supervisor->retired);
	r = take_sockets(supervisor, view, rest.socket_count);
	if (r == 0)
		r = take_settings(supervisor, &rest);
	if (r < 0)
		return r;
	take_log(supervisor, view, &rest.log);
	if (rest.control_fd >= 0)
		r = control_adopt(supervisor, rest.control_fd, rest.control_group,
				  rest.control_file, &supervisor->control);
	/* From the oldest on, so that the newest is the first of the list again. */
	for (uint32_t i = rest.generation_count; i-- > 0 && r == 0;)
		r = take_generation(supervisor, view, i);
	take_listener(supervisor);
	return r;
}

int handover_restore(struct supervisor *supervisor, int block_fd, bool *ret_is_rehearsal)
{
	struct stat status = {0};
	struct block_view view;
	void *bytes = MAP_FAILED;
	int r = -EBADMSG;

	assert(supervisor->loop && block_fd >= 0);
	if (fstat(block_fd, &status) == 0)
		bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, block_fd, 0);
	if (bytes != MAP_FAILED)
		r = block_view(bytes, (size_t)status.st_size, &view);
	if (r == 0) {
		*ret_is_rehearsal = view.head->is_rehearsal;
		r = take_all(supervisor, &view);
	}
	if (bytes != MAP_FAILED)
		munmap(bytes, (size_t)status.st_size);
	if (r < 0)
		log_errno(LOG_ERR, r, "what was handed over cannot be used");
	return r;
}
