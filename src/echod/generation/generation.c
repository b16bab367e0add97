/* SPDX-License-Identifier: MIT */
/*
 * The life of a generation, and the channel to its listener.
 *
 * A generation goes through four states and never back:
 *
 *     STARTING --MESSAGE_READY--> SERVING --generation_stop()--> DRAINING
 *         |                          |                              |
 *         +------------- the listener was reaped -------------------+--> ORPHANED
 *
 * While the listener lives, it reaps its workers and counts their ends, and this file only reads:
 * the totals in the table, and one event for each end in the ring. When the listener dies the
 * kernel makes the workers our children, because we are a subreaper. Then there are three sources
 * for each of them: its exit status, the entry that the listener wrote before the fork, and the
 * slot that the worker wrote. The ring is read to its end first: a worker whose end the listener
 * has reported is no orphan. A listener that was killed between two stores has counted one too many
 * or one too few; account_reaped() finds out which from the entries and corrects the sum.
 *
 * So this holds whenever the supervisor looks, whatever has died: accepted = closed + refused +
 * live.
 *
 * A generation is gone when it has neither listener nor orphans. Nothing here frees it: its owner
 * adds its counters to those of the daemon first (supervisor/loop.c).
 */
#include "echod/generation/generation.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/generation/filter.h"
#include "echod/log/log.h"

#define MESSAGES_A_TURN 64u	/* a listener that floods the channel must not block the loop */
#define KILL_GRACE_NS (2 * (uint64_t)CLOCK_NS_PER_S)	/* for a worker to end in an orderly way */

static void on_message(struct generation *generation, struct message *message)
{
	const struct generation_hooks *hooks = generation->hooks;

	message->text[sizeof(message->text) - 1] = '\0';
	switch (message->type) {
	case MESSAGE_READY:
		if (generation->state != GENERATION_STARTING)
			break;
		generation->state = GENERATION_SERVING;
		if (message->value != 0)
			log_errno(LOG_WARNING, (int)message->value, FILTER_MISSING);
		hooks->ready(hooks->context, generation);
		break;
	case MESSAGE_FAILED:
		log_errno(LOG_ERR, (int)message->value, "listener %d cannot start: %s",
			  generation->listener_pid, message->text);
		break;
	case MESSAGE_STOPPED:	/* its live connections count for the others as they are now */
	case MESSAGE_WAKE:
		hooks->wake(hooks->context, generation);
		break;
	case MESSAGE_PONG:
		generation->unanswered = 0;
		break;
	default:
		break;
	}
}

/*
 * Takes the messages that are there, a bounded number at a time. Returns false if the listener has
 * closed its end.
 */
static bool channel_receive(struct generation *generation)
{
	struct message message;
	ssize_t size = 0;

	for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
		size = recv(generation->channel_fd, &message, sizeof(message), MSG_DONTWAIT);
		if (size == (ssize_t)sizeof(message))
			on_message(generation, &message);
		else if (size == 0)
			return false;
		else if (size < 0 && errno != EINTR)
			return errno == EAGAIN;
	}
	return true;
}

static void channel_close(struct generation *generation)
{
	generation->channel_source = sd_event_source_disable_unref(generation->channel_source);
	generation->channel_fd = fd_close(generation->channel_fd);
}

static int on_channel(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct generation *generation = context;

	(void)source;
	(void)fd;
	(void)events;
	if (!channel_receive(generation)) {
		channel_close(generation);
		/* A listener that was not told to stop cannot be told anything any more. */
		if (!generation->stopped)
			generation_kill_listener(generation);
	}
	return 0;
}

int generation_watch(struct generation *generation, struct sd_event *loop,
		     const struct generation_hooks *hooks)
{
	assert(loop && hooks && !generation->channel_source);
	generation->hooks = hooks;
	if (generation->channel_fd < 0)
		return 0;
	return sd_event_add_io(loop, &generation->channel_source, generation->channel_fd, EPOLLIN,
			       on_channel, generation);
}

bool generation_is_stranger(const struct generation *generation)
{
	return generation->wire_version != wire_version;
}

struct generation *generation_new(void)
{
	struct generation *generation = calloc(1, sizeof(*generation));

	if (!generation)
		return NULL;
	generation->channel_fd = -1;
	generation->scoreboard = SCOREBOARD_NONE;
	generation->wire_version = wire_version;
	return generation;
}

void generation_free(struct generation *generation)
{
	if (!generation)
		return;
	channel_close(generation);
	scoreboard_release(&generation->scoreboard);
	free(generation->orphans.items);
	free(generation);
}

static void channel_send(struct generation *generation, enum message_type type, uint32_t value)
{
	struct message message = { .type = type, .value = value };

	if (generation->channel_fd < 0)
		return;
	if (send(generation->channel_fd, &message, sizeof(message),
		 MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return;
	log_errno(LOG_DEBUG, errno, "message %u to listener %d", message.type,
		  generation->listener_pid);
	/* A listener that hangs may have no room for it: closing the channel means the same. */
	if (type == MESSAGE_STOP)
		shutdown(generation->channel_fd, SHUT_WR);
}

void generation_stop(struct generation *generation, enum stop_reason reason)
{
	if (generation->state == GENERATION_ORPHANED)
		return;
	generation->stopped = true;
	generation->state = GENERATION_DRAINING;
	channel_send(generation, MESSAGE_STOP, reason);
}

void generation_ping(struct generation *generation)
{
	channel_send(generation, MESSAGE_PING, 0);
}

void generation_kill_listener(struct generation *generation)
{
	/* It is our child until it is reaped, so the process id is still its own. */
	if (generation->listener_pid > 0)
		kill(generation->listener_pid, SIGKILL);
}

static void on_ring_event(void *context, const struct event *event)
{
	struct generation *generation = context;

	generation->hooks->event(generation->hooks->context, generation, event);
}

unsigned generation_drain(struct generation *generation)
{
	return scoreboard_drain(&generation->scoreboard, on_ring_event, generation);
}

static int orphan_compare(const void *left, const void *right)
{
	pid_t a = ((const struct orphan *)left)->pid;
	pid_t b = ((const struct orphan *)right)->pid;

	return (a > b) - (a < b);
}

static bool is_orphan(const struct scoreboard *scoreboard, uint32_t slot)
{
	const struct entry *entry = &scoreboard->table->entries[slot];

	return atomic_load(&entry->pid) > 1 && atomic_load(&entry->state) == ENTRY_LIVE &&
	       atomic_load(&entry->id) != scoreboard->notes[slot].closed_id;
}

int orphans_list(const struct scoreboard *scoreboard, struct orphans *ret_orphans)
{
	struct orphans made = {0};
	uint32_t count = 0;

	for (uint32_t slot = 0; slot < scoreboard->slots; slot++)
		count += is_orphan(scoreboard, slot);
	made.items = calloc(count ? count : 1, sizeof(*made.items));
	if (!made.items)
		return -ENOMEM;
	/* No listener writes the table any more, so both passes see the same. */
	for (uint32_t slot = 0; slot < scoreboard->slots; slot++) {
		struct entry *entry = &scoreboard->table->entries[slot];

		if (atomic_load(&entry->state) != ENTRY_LIVE)
			continue;
		if (is_orphan(scoreboard, slot) && made.count < count)
			made.items[made.count++] = (struct orphan){
				.pid = atomic_load(&entry->pid),
				.slot = slot,
			};
		else
			atomic_store(&entry->state, ENTRY_FREE);
	}
	made.live = made.count;
	qsort(made.items, made.count, sizeof(*made.items), orphan_compare);
	*ret_orphans = made;
	return 0;
}

struct orphan *orphans_find(const struct orphans *orphans, pid_t pid)
{
	struct orphan key = { .pid = pid };
	struct orphan *found;

	if (orphans->count == 0)
		return NULL;
	found = bsearch(&key, orphans->items, orphans->count, sizeof(key), orphan_compare);
	return found && !found->ended ? found : NULL;
}

/*
 * The listener reaped the worker and died before it reported that: only the worker's phase is
 * known.
 */
static enum end_reason end_of_phase(uint32_t phase)
{
	return phase == SLOT_ENDING ? END_FIN : END_ERROR;
}

void orphan_event(const struct scoreboard *scoreboard, const struct orphan *orphan, int status,
		  const struct rusage *usage, uint64_t now_ns, struct event *ret_event)
{
	const struct slot *slot = &scoreboard->slot[orphan->slot];
	enum slot_command command =
		command_for(&scoreboard->command[orphan->slot], orphan->pid);
	struct event event = event_closed(&scoreboard->table->entries[orphan->slot], slot,
					  orphan->slot, usage);

	event.end_ns = now_ns;
	event.pid = orphan->pid;
	event.status = usage ? status : 0;
	event.reason = (uint16_t)(usage ? end_of_status(status, command == SLOT_END_DRAIN) :
					  end_of_phase(atomic_load(&slot->phase)));
	event.count = 1;	/* only the listener could have proved that no byte came */
	*ret_event = event;
}

static void orphan_end(struct generation *generation, struct orphan *orphan, struct event *event)
{
	orphan->ended = true;
	generation->orphans.live--;
	/* Frees the entry as its listener would have done. */
	atomic_store(&generation->scoreboard.table->entries[orphan->slot].state, ENTRY_FREE);
	on_ring_event(generation, event);
}

/*
 * A listener that is killed between two stores leaves its counters one off against its entries. The
 * sign says what it was doing: it had counted an end and not cleared the entry (one entry too
 * many), or accepted a connection that never got a worker (one too few).
 */
static int64_t count_surplus(const struct generation *generation)
{
	struct tally tally = {0};

	tally_add_totals(&tally, &generation->scoreboard.table->totals);
	return (int64_t)(tally_closed(&tally) + tally_refused(&tally) +
			 generation->orphans.live - tally.accepted);
}

/* A connection that never got a worker was closed with its listener: no counter goes back. */
static void settle(struct generation *generation, int64_t surplus)
{
	if (surplus > 0)
		generation->adopted.accepted = (uint64_t)surplus;
	else
		generation->adopted.refused[REFUSE_CONNECTIONS] = (uint64_t)-surplus;
}

/* Accounts for workers that the listener had reaped but not reported. */
static void account_reaped(struct generation *generation)
{
	struct orphans *orphans = &generation->orphans;
	int64_t surplus = count_surplus(generation);

	for (uint32_t i = 0; i < orphans->count; i++) {
		struct event event;
		siginfo_t info;

		if (waitid(P_PID, (id_t)orphans->items[i].pid, &info,
			   WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD)
			continue;
		orphan_event(&generation->scoreboard, &orphans->items[i], 0, NULL, clock_now_ns(),
			     &event);
		if (surplus > 0)
			surplus--;
		else
			tally_add_closed(&generation->adopted, &event);
		orphan_end(generation, &orphans->items[i], &event);
	}
	settle(generation, surplus);
}

void generation_listener_gone(struct generation *generation, int status)
{
	struct orphans *orphans = &generation->orphans;

	if (generation->channel_fd >= 0)
		channel_receive(generation);
	channel_close(generation);
	generation->listener_pid = 0;
	while (generation_drain(generation))
		;
	generation->state = GENERATION_ORPHANED;
	if (generation->scoreboard.datagrams)	/* that process has ended with its listener */
		datagrams_settle(generation->scoreboard.datagrams);
	if (WIFEXITED(status) && !WEXITSTATUS(status) && !scoreboard_live(&generation->scoreboard))
		return;
	if (generation_is_stranger(generation)) {
		orphans->live = scoreboard_live(&generation->scoreboard);
		settle(generation, count_surplus(generation));
		return;
	}
	if (orphans_list(&generation->scoreboard, orphans) < 0) {
		log_error("out of memory: workers of generation %llu are not accounted",
			  (unsigned long long)generation->number);
		return;
	}
	account_reaped(generation);
}

bool generation_reap(struct generation *generation, pid_t pid, int status,
		     const struct rusage *usage)
{
	struct orphan *orphan = orphans_find(&generation->orphans, pid);
	struct event event;

	if (!orphan)
		return false;
	orphan_event(&generation->scoreboard, orphan, status, usage, clock_now_ns(), &event);
	tally_add_closed(&generation->adopted, &event);
	orphan_end(generation, orphan, &event);
	return true;
}

bool generation_reap_stranger(struct generation *generation, int status)
{
	if (!generation_is_stranger(generation) || !generation->orphans.live)
		return false;
	generation->adopted.closed[end_of_status(status, false)]++;
	generation->orphans.live--;
	/*
	 * Its table does not have this end: so it stays a stranger for programs of its own version,
	 * too.
	 */
	generation->wire_version = 0;
	return true;
}

/* Orphans become our children, but keep their process group. */
static bool has_children(pid_t group)
{
	siginfo_t info;

	return waitid(P_PGID, (id_t)group, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

bool generation_is_gone(const struct generation *generation)
{
	if (generation->listener_pid)
		return false;
	return generation_is_stranger(generation) ? !has_children(generation->group) :
						    !generation->orphans.live;
}

const char *generation_unix_path(const struct generation *generation, uint32_t socket,
				 char path[UNIX_PATH_BYTES])
{
	assert(!generation_is_stranger(generation));
	*path = '\0';
	if (socket < SETTINGS_MAX_SOCKETS)
		strncat(path, generation->scoreboard.table->unix_paths[socket],
			UNIX_PATH_BYTES - 1);
	return path;
}

uint32_t generation_live(const struct generation *generation)
{
	return generation->listener_pid ? scoreboard_live(&generation->scoreboard) :
					  generation->orphans.live;
}

uint32_t generation_waiting(const struct generation *generation)
{
	uint32_t waiting = atomic_load_explicit(&generation->scoreboard.table->waiting,
						memory_order_relaxed);

	return !generation->listener_pid ? 0 :
	       waiting < SETTINGS_MAX_WAITING ? waiting : SETTINGS_MAX_WAITING;
}

void generation_add_live_bytes(const struct generation *generation, uint64_t *in, uint64_t *out)
{
	const struct scoreboard *scoreboard = &generation->scoreboard;
	uint32_t live = generation_live(generation);

	for (uint32_t slot = 0; slot < scoreboard->slots && live; slot++) {
		if (atomic_load(&scoreboard->table->entries[slot].state) != ENTRY_LIVE)
			continue;
		live--;
		*in += slot_bytes(&scoreboard->slot[slot].bytes_in);
		*out += slot_bytes(&scoreboard->slot[slot].bytes_out);
	}
}

void generation_report_datagrams(struct generation *generation, bool is_last, uint64_t now_ns)
{
	if (generation->scoreboard.datagrams)
		report_datagrams(&generation->said_datagrams, generation->scoreboard.datagrams,
				 is_last, now_ns);
}

void generation_add_tally(const struct generation *generation, struct tally *tally)
{
	tally_add_totals(tally, &generation->scoreboard.table->totals);
	if (generation->scoreboard.datagrams)
		tally_add_datagrams(tally, generation->scoreboard.datagrams);
	tally_add(tally, &generation->adopted);
}

void generation_set_foreign(struct generation *generation, uint32_t live)
{
	_Atomic uint32_t *foreign = &generation->scoreboard.table->foreign_live;
	uint32_t before = atomic_exchange(foreign, live);

	/* There is room again: wakes a listener that waits at its limit. */
	if (live < before)
		generation_ping(generation);
}

/* Many workers end while the others are still being told to: the ring must have room for all. */
static int end_worker(struct generation *generation, uint32_t slot, uint64_t id,
		      enum slot_command command, int signal)
{
	if (scoreboard_waiting(&generation->scoreboard) > RING_EVENTS / 2)
		generation_drain(generation);
	return scoreboard_end_worker(&generation->scoreboard, slot, id, command, signal);
}

void generation_end_workers(struct generation *generation, enum slot_command command, int signal)
{
	const struct scoreboard *scoreboard = &generation->scoreboard;

	for (uint32_t slot = 0; slot < scoreboard->slots; slot++)
		end_worker(generation, slot, 0, command, signal);
	if (!generation_is_stranger(generation))
		return;
	assert(generation->group > 1);
	for (uint32_t word = 0; word < scoreboard->words; word++)
		atomic_store(&scoreboard->command[word], command_make(0, command));
	kill(-generation->group, signal);
}

static bool is_told_to_end(const struct scoreboard *scoreboard, uint32_t slot)
{
	int32_t pid = atomic_load(&scoreboard->table->entries[slot].pid);

	return command_for(&scoreboard->command[slot], pid) == SLOT_END_KILLED;
}

int generation_kill_slot(struct generation *generation, uint32_t slot, uint64_t id)
{
	struct scoreboard *scoreboard = &generation->scoreboard;

	assert(id && slot < scoreboard->slots);
	/* The first order counts: repeated ones must not keep a worker alive. */
	if (!is_told_to_end(scoreboard, slot))
		scoreboard->notes[slot].told_ns = clock_now_ns();
	return end_worker(generation, slot, id, SLOT_END_KILLED, SIGURG);
}

int generation_kill_connection(struct generation *generation, uint64_t id)
{
	struct scoreboard *scoreboard = &generation->scoreboard;

	for (uint32_t slot = 0; slot < scoreboard->slots && id; slot++)
		if (atomic_load(&scoreboard->table->entries[slot].id) == id)
			return generation_kill_slot(generation, slot, id);
	return -ESRCH;
}

uint64_t generation_kill_again(struct generation *generation)
{
	struct scoreboard *scoreboard = &generation->scoreboard;
	uint64_t now_ns = clock_now_ns();
	uint64_t first_ns = UINT64_MAX;

	for (uint32_t slot = 0; slot < scoreboard->slots; slot++) {
		uint64_t *told_ns = &scoreboard->notes[slot].told_ns;
		/*
		 * Read first: if the slot gets another connection meanwhile, that has another id.
		 */
		uint64_t id = atomic_load(&scoreboard->table->entries[slot].id);

		if (!id || !is_told_to_end(scoreboard, slot))
			continue;
		/* The order came from the program before this one (see handover.h). */
		if (!*told_ns)
			*told_ns = now_ns;
		/* A worker that could not be signalled for lack of a descriptor still lives. */
		if (end_worker(generation, slot, id, SLOT_END_KILLED,
			       now_ns - *told_ns < KILL_GRACE_NS ? SIGURG : SIGKILL) != -ESRCH &&
		    *told_ns < first_ns)
			first_ns = *told_ns;
	}
	return first_ns;
}
