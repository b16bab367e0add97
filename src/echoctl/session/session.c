/* SPDX-License-Identifier: MIT */
/*
 * Starts the sender, receives, ends the sender, judges.
 *
 *     input -> sender -send, shutdown(SHUT_WR)-> connection -recv-> receiver -> output
 *                 |                                                    |
 *                 +---- bytes in flight, counters (shared memory) -----+
 *                 +---- socket pair: each sees the other's end --------+
 *
 * Why two processes: one that sends and receives has to choose which of them waits, and a server
 * that takes in everything before it answers, or one that answers at once and reads no more, finds
 * the wrong choice. Here a full connection stops the sender alone and a slow output the receiver
 * alone. The FIN goes out when the input ends, while the echo is still coming in: that is what
 * many a path on the way does not survive, and what halfclose looks for.
 *
 * The sender records what it sends before it sends it (inflight.h), so that the receiver always
 * knows what has to come back. It is only ever told to stop by the end of the socket pair, in the
 * same poll(2) in which it waits for its input or the connection. The receiver ends for one reason
 * of enum session_end; the first that is met counts, and its time is kept with it.
 *
 * The peer's time runs while it has to take, return or end something, and from its last progress;
 * it never runs while our own input or output is what we wait for.
 */
#include "echoctl/session/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/session/receiver.h"
#include "echoctl/session/sender.h"

#define SENDER_PATIENCE_MS 5000	/* as session.h says */

static struct sender_counters *map_counters(void)
{
	void *page = mmap(NULL, sizeof(struct sender_counters), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

/* Forks the sender. Returns its process id or -errno; the caller keeps pair[0]. */
static pid_t start_sender(struct sender *sender, int pair[2])
{
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		pid = -errno;
		fd_close(pair[0]);
		fd_close(pair[1]);
		return pid;
	}
	if (pid == 0) {
		fd_close(pair[0]);
		sender->receiver_fd = pair[1];
		sender_run(sender);
		_exit(0);
	}
	pair[1] = fd_close(pair[1]);
	return pid;
}

/* Lets go of the sender and waits for it, so that its counters are final. */
static void end_sender(pid_t pid, int pair_fd)
{
	struct pollfd gone = {.fd = pair_fd, .events = POLLIN};

	/* The sender never writes: what can be read is the end, when it exits. */
	shutdown(pair_fd, SHUT_WR);
	while (poll(&gone, 1, SENDER_PATIENCE_MS) < 0 && errno == EINTR)
		;
	if (gone.revents == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* What only the final counters of the sender can tell. */
static void judge(const struct sender *sender, struct session_result *result)
{
	const struct sender_counters *counters = sender->counters;
	bool all_back;
	bool complete;

	result->bytes_sent = counters->sent;
	result->first_sent_ns = counters->first_sent_ns;
	result->fin_ns = counters->fin_ns;
	result->input_ended = counters->state == SENDER_FINISHED;
	all_back = result->bytes_received >= result->bytes_sent;
	complete = !sender->options->verify || all_back;
	if (counters->state == SENDER_INPUT_FAILED) {
		result->end = SESSION_INPUT_FAILED;
		result->error = counters->error;
	} else if (result->end == SESSION_OK && counters->state == SENDER_FAILED &&
		   counters->error != EPIPE && counters->error != ENOTCONN) {
		/*
		 * These beside an EOF are a reset that followed a FIN: the FIN counts. After an
		 * error of recv(2) they only say that it was there, and the reason is recv's.
		 */
		result->end = SESSION_RESET;
		result->error = counters->error;
	} else if (result->end == SESSION_STALL && result->input_ended &&
		   (sender->options->fin ? all_back : complete)) {
		/* Without a FIN of ours silence is how it ends. */
		result->end = sender->options->fin ? SESSION_NO_EOF : SESSION_OK;
	} else if (result->end == SESSION_OK && !(complete && result->input_ended)) {
		result->end = SESSION_EARLY_EOF;
	}
	if (sender->inflight != NULL &&
	    (result->end <= SESSION_EARLY_EOF || result->end == SESSION_NO_EOF) &&
	    inflight_check_tail(sender->inflight, &result->difference) != INFLIGHT_EQUAL)
		result->end = SESSION_CORRUPT;
	result->verified = sender->options->verify && result->end == SESSION_OK;
}

static void broken(struct session_result *result, int error)
{
	result->end = SESSION_BROKEN;
	result->error = error;
	result->ended_ns = clock_now_ns();
}

static void run_both(struct sender *sender, struct session_result *result)
{
	int pair[2] = {-1, -1};
	pid_t pid = start_sender(sender, pair);

	if (pid < 0) {
		broken(result, -pid);
		return;
	}
	receiver_run(sender, pair[0], result);
	end_sender(pid, pair[0]);
	fd_close(pair[0]);
	result->ended_ns = clock_now_ns();
	judge(sender, result);
}

void session_run(int socket_fd, const struct session_options *options,
		 struct session_result *ret_result)
{
	struct sender sender = {.socket_fd = socket_fd, .options = options};

	*ret_result = (struct session_result){
		.output_name = options->output_name,
		.started_ns = clock_now_ns(),
	};
	sender.counters = map_counters();
	if (options->verify)
		sender.inflight = inflight_new(INFLIGHT_SEGMENT_BYTES);
	if (sender.counters == NULL || (options->verify && sender.inflight == NULL))
		broken(ret_result, ENOMEM);
	else
		run_both(&sender, ret_result);
	inflight_free(sender.inflight);
	if (sender.counters != NULL)
		munmap(sender.counters, sizeof(*sender.counters));
}
