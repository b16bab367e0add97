/* SPDX-License-Identifier: MIT */
/*
 * Starts the sender, receives, ends the sender, judges.
 *
 *     input -> sender -send, shutdown(SHUT_WR)-> connection -recv-> receiver -> output
 *                 |                                                    |
 *                 +---- bytes in flight, counters (shared memory) -----+
 *                 +---- socket pair: each sees the other's end --------+
 *
 * Why two processes? One process that sends and receives has to choose which of both waits, and
 * either choice fails with some server: one that takes in everything before it answers, or one that
 * answers at once and reads no more. Here a full connection stops only the sender and a slow output
 * only the receiver. The FIN is sent when the input ends, while the echo is still coming in. Many
 * paths do not pass that, which is what halfclose looks for.
 *
 * The sender records what it sends before it sends it (inflight.h), so that the receiver always
 * knows what has to come back. Only the end of the socket pair tells it to stop, in the same
 * poll(2) in which it waits for its input or the connection. The receiver ends for one reason of
 * enum session_end; the first one counts, and its time is kept.
 *
 * The peer's time runs while it has to take, return or end something, and starts again with each
 * progress; it does not run while we wait for our own input or output.
 */
#include "echoctl/session/session.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/output/output.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define SENDER_PATIENCE_MS 5000	/* as session.h says */
#define BUFFER_BYTES (128u * 1024u)
#define NS_PER_MS 1000000u
#define PROGRESS_NS (250u * NS_PER_MS)
#define HELD_LOOK_NS (5u * NS_PER_MS)	/* between looks at a sender that a held reader blocks */

enum sender_state {
	SENDER_WAITING,		/* for input */
	SENDER_SENDING,
	SENDER_FINISHED,	/* all is sent, and the FIN if one was wanted */
	SENDER_FAILED,		/* end: SESSION_RESET, _INPUT_FAILED or _BROKEN; error */
};

/*
 * What the sender tells the receiver, in shared memory. Times are CLOCK_MONOTONIC; those of the
 * first byte and of the FIN are taken before the system call, so that no answer is earlier.
 */
struct shared {
	_Atomic int state;		/* enum sender_state */
	_Atomic int end;		/* enum session_end */
	_Atomic int error;
	_Atomic uint64_t sent;
	_Atomic uint64_t first_sent_ns;
	_Atomic uint64_t progress_ns;	/* time of its last progress */
	_Atomic uint64_t fin_ns;
	struct inflight inflight;
};

/* Each process has its own. */
struct session {
	int socket_fd;
	int other_fd;			/* readable when the other process is gone */
	const struct session_options *options;
	struct shared *shared;
	/* The rest is the receiver's. */
	struct session_result *result;
	struct output output;
	bool sender_gone;
	bool ended;
	bool released;			/* a held reader that may read on */
	char *pending;			/* received, compared, not yet written */
	size_t pending_size;
	uint64_t fin_acknowledged_ns;
	uint64_t next_progress_ns;
};

static char buffer[BUFFER_BYTES];	/* one in each process */

/*
 * The sender.
 */

/* Waits for events on fd. Returns 0, -ECANCELED when the receiver is gone, or -errno. */
static int wait_for(const struct session *session, int fd, short events)
{
	struct pollfd polled[] = {
		{ .fd = session->other_fd, .events = POLLIN },
		{ .fd = fd, .events = events },
	};

	if (poll(polled, 2, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	return polled[0].revents ? -ECANCELED : 0;
}

/*
 * Whether the input is at its end when the receiver ends the sender: a server that ends the
 * connection with the last byte may be faster than the sender's look for more input.
 */
static bool input_has_ended(int input_fd)
{
	struct pollfd polled = { .fd = input_fd, .events = POLLIN };
	char byte;

	return poll(&polled, 1, 0) > 0 && read(input_fd, &byte, 1) == 0;
}

/* Waits for input and reads once. Returns the size, 0 at the end, -errno. */
static ssize_t read_input(const struct session *session, bool at_line_start)
{
	const struct session_options *options = session->options;
	ssize_t n;
	int r;

	do {
		r = wait_for(session, options->input_fd, POLLIN);
		if (r == -ECANCELED && input_has_ended(options->input_fd))
			return 0;
		if (r < 0)
			return r;
		n = read(options->input_fd, buffer, BUFFER_BYTES);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		return -errno;
	/* A terminal delivers whole lines (termios(3), canonical mode). */
	if (options->input_is_terminal && at_line_start && n == 2 && buffer[1] == '\n' &&
	    (buffer[0] == 'q' || buffer[0] == 'Q'))
		return 0;
	return n;
}

static ssize_t fill_pattern(const struct session *session, uint64_t offset)
{
	uint64_t left = session->options->pattern_bytes - offset;
	size_t size = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;

	pattern_fill(session->options->pattern, offset, buffer, size);
	return (ssize_t)size;
}

/* Sends all of it, however long the peer takes: the receiver watches the time. 0 or -errno. */
static int send_all(const struct session *session, size_t size)
{
	struct shared *shared = session->shared;
	const char *bytes = buffer;
	uint64_t before_ns = shared->progress_ns;

	while (size > 0) {
		ssize_t n = send(session->socket_fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = n < 0 ? -errno : 0;

		if (r == -EAGAIN)
			r = wait_for(session, session->socket_fd, POLLOUT);
		if (r < 0 && r != -EINTR)
			return r;
		if (n < 0)
			continue;
		shared->progress_ns = clock_now_ns();
		if (shared->first_sent_ns == 0)
			shared->first_sent_ns = before_ns;
		shared->sent += (uint64_t)n;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

static void fail(struct shared *shared, enum session_end end, int error)
{
	/* A sender that is told to stop has not failed. */
	if (error == -ECANCELED)
		return;
	shared->end = end;
	shared->error = -error;
	shared->state = SENDER_FAILED;
}

static void finish(const struct session *session)
{
	struct shared *shared = session->shared;
	uint64_t before_ns = clock_now_ns();

	shared->progress_ns = before_ns;
	if (session->options->fin) {
		if (shutdown(session->socket_fd, SHUT_WR) < 0) {
			fail(shared, SESSION_RESET, -errno);
			return;
		}
		shared->fin_ns = before_ns;
	}
	shared->state = SENDER_FINISHED;
}

/* Sends all the input. Its results are in the shared memory afterwards. */
static void run_sender(const struct session *session)
{
	struct shared *shared = session->shared;
	bool at_line_start = true;
	uint64_t offset = 0;
	ssize_t n;
	int r = 0;

	for (;;) {
		shared->state = SENDER_WAITING;
		if (session->options->input_fd == SESSION_INPUT_PATTERN)
			n = fill_pattern(session, offset);
		else
			n = read_input(session, at_line_start);
		if (n <= 0)
			break;
		at_line_start = buffer[n - 1] == '\n';
		offset += (uint64_t)n;
		shared->progress_ns = clock_now_ns();
		shared->state = SENDER_SENDING;
		/* Before they are sent: their echo must not be there first. */
		if (session->options->verify)
			r = inflight_put(&shared->inflight, buffer, (size_t)n);
		if (r < 0) {
			fail(shared, SESSION_BROKEN, r);
			return;
		}
		r = send_all(session, (size_t)n);
		if (r < 0) {
			fail(shared, SESSION_RESET, r);
			return;
		}
	}
	if (n < 0)
		fail(shared, SESSION_INPUT_FAILED, (int)n);
	else
		finish(session);
}

/*
 * The receiver.
 */

static void end(struct session *session, enum session_end how, int error)
{
	if (session->ended)
		return;
	session->ended = true;
	session->result->end = how;
	session->result->error = error;
}

static enum sender_state sender_state(const struct session *session)
{
	return (enum sender_state)session->shared->state;
}

/* True if the next hop has our FIN, or if that cannot be known. */
static bool fin_acknowledged(int fd)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return true;
	return info.tcpi_state != TCP_FIN_WAIT1 && info.tcpi_state != TCP_ESTABLISHED;
}

/*
 * A held reader reads nothing until hold_us after the peer has our FIN. If the buffers of the path
 * are too small for that, it takes one buffer at a time, only so much that the sender can go on. If
 * more bytes are to come than the path can hold behind a relay, that relay may not have seen the
 * FIN yet: then it first reads until SESSION_HOLD_BYTES are left. Sets *ret_again_ns to when to
 * look again.
 */
static bool may_read(struct session *session, uint64_t now_ns, uint64_t *ret_again_ns)
{
	const struct shared *shared = session->shared;
	const struct session_result *result = session->result;
	uint64_t hold_ns = session->options->hold_us * 1000;

	if (hold_ns == 0 || session->released)
		return true;
	if (session->fin_acknowledged_ns == 0 && sender_state(session) == SENDER_FINISHED &&
	    fin_acknowledged(session->socket_fd)) {
		if (shared->sent > result->bytes_received + SESSION_HOLD_BYTES)
			return true;
		session->fin_acknowledged_ns = now_ns;
	}
	if (session->fin_acknowledged_ns != 0) {
		*ret_again_ns = session->fin_acknowledged_ns + hold_ns;
		session->released = now_ns >= *ret_again_ns;
		return session->released;
	}
	*ret_again_ns = now_ns + HELD_LOOK_NS;
	return now_ns >= shared->progress_ns + HELD_LOOK_NS &&
	       now_ns >= result->last_received_ns + HELD_LOOK_NS;
}

/* When the peer's time is over: never while we wait for input or output. */
static uint64_t deadline_ns(const struct session *session)
{
	uint64_t last_ns = session->shared->progress_ns;

	if (session->pending_size > 0 || sender_state(session) == SENDER_WAITING)
		return UINT64_MAX;
	if (session->result->last_received_ns > last_ns)
		last_ns = session->result->last_received_ns;
	if (session->fin_acknowledged_ns != 0)
		last_ns += session->options->hold_us * 1000;
	return last_ns + session->options->drain_timeout_us * 1000;
}

static void show_progress(struct session *session, uint64_t now_ns)
{
	uint64_t received = session->result->bytes_received;
	uint64_t sent = session->shared->sent;
	uint64_t total = session->options->total_bytes;
	double rate = (double)received * CLOCK_NS_PER_S /
		      (double)(now_ns - session->result->started_ns + 1);
	char left[48] = "";
	char texts[3][UNITS_TEXT_MAX];

	if (!session->options->progress || now_ns < session->next_progress_ns)
		return;
	session->next_progress_ns = now_ns + PROGRESS_NS;
	if (total > received && rate > 0)
		snprintf(left, sizeof(left), ", %.0f%%, %.0f s left",
			 100.0 * (double)received / (double)total,
			 (double)(total - received) / rate);
	terminal_show("%s back, %s/s, %s in flight%s", units_bytes((double)received, texts[0]),
		      units_bytes(rate, texts[1]),
		      units_bytes(sent > received ? (double)(sent - received) : 0, texts[2]), left);
}

static void compare(struct session *session, size_t size)
{
	bool is_first = session->shared->inflight.checked == 0;
	enum inflight_match match = inflight_check(&session->shared->inflight, buffer, size,
						   &session->result->difference);

	if (is_first && match != INFLIGHT_EQUAL)
		payload_look(buffer, size);
	switch (match) {
	case INFLIGHT_EQUAL:
		break;
	case INFLIGHT_DIFFERS:
		end(session, SESSION_CORRUPT, 0);
		break;
	case INFLIGHT_EXCESS:
		end(session, SESSION_EXCESS, 0);
		break;
	case INFLIGHT_FAILED:
		end(session, SESSION_BROKEN, errno);
		break;
	}
}

/* Output that cannot be written is worse than any other end of the session. */
static void fail_output(struct session *session, int error)
{
	session->pending_size = 0;
	session->ended = false;
	end(session, SESSION_OUTPUT_FAILED, error);
}

static void write_pending(struct session *session)
{
	ssize_t n = output_write(&session->output, session->pending, session->pending_size);

	if (n < 0) {
		fail_output(session, (int)-n);
		return;
	}
	session->pending += n;
	session->pending_size -= (size_t)n;
}

static void receive(struct session *session)
{
	struct session_result *result = session->result;
	ssize_t n = recv(session->socket_fd, buffer, BUFFER_BYTES, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		end(session, SESSION_RESET, errno);
		return;
	}
	if (n == 0) {
		result->eof = true;
		result->eof_ns = clock_now_ns();
		end(session, SESSION_OK, 0);
		return;
	}
	result->last_received_ns = clock_now_ns();
	if (result->first_received_ns == 0)
		result->first_received_ns = result->last_received_ns;
	if (session->shared->fin_ns == 0)
		result->bytes_before_fin += (uint64_t)n;
	result->bytes_received += (uint64_t)n;
	if (session->options->verify)
		compare(session, (size_t)n);
	session->pending = buffer;
	session->pending_size = (size_t)n;
	write_pending(session);
}

static void heed_user(struct session *session)
{
	if (interrupt_ended() < 0) {
		session->pending_size = 0;
		end(session, session_end_of(interrupt_ended()), 0);
	}
	if (interrupt_asked())
		session->next_progress_ns = 0;
}

/*
 * Called when the sender's process is gone. If it found the connection broken, recv(2) decides on
 * the reason.
 */
static void note_sender_end(struct session *session)
{
	const struct shared *shared = session->shared;

	session->sender_gone = true;
	if (sender_state(session) == SENDER_FINISHED)
		return;
	session->released = true;
	if (sender_state(session) != SENDER_FAILED)
		end(session, SESSION_BROKEN, ECHILD);
	else if (shared->end != SESSION_RESET)
		end(session, (enum session_end)shared->end, shared->error);
}

static uint64_t earlier(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

/* When to look again even if nothing happens. again_ns: 0, or the latest time. */
static uint64_t next_look_ns(const struct session *session, uint64_t now_ns, uint64_t again_ns)
{
	/* A sender that starts to send meanwhile gets its full time from then on. */
	uint64_t until_ns = now_ns + session->options->drain_timeout_us * 1000;

	until_ns = earlier(until_ns, deadline_ns(session));
	if (again_ns != 0)
		until_ns = earlier(until_ns, again_ns);
	if (session->options->progress)
		until_ns = earlier(until_ns, session->next_progress_ns);
	return until_ns;
}

enum { SOCKET, OUTPUT, SENDER, N_POLLED };

static void step(struct session *session)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t again_ns = 0;
	bool writing = session->pending_size > 0;
	bool reading = !writing && may_read(session, now_ns, &again_ns);
	/* While output is waited for, an error of the connection has to wait too. */
	struct pollfd polled[N_POLLED + 1] = {
		[SOCKET] = {writing ? -1 : session->socket_fd, reading ? POLLIN : 0, 0},
		[OUTPUT] = {writing ? session->output.fd : -1, POLLOUT, 0},
		[SENDER] = {session->sender_gone ? -1 : session->other_fd, POLLIN, 0},
	};
	int r = interrupt_poll(polled, N_POLLED, next_look_ns(session, now_ns, again_ns));

	if (r < 0) {
		end(session, SESSION_BROKEN, -r);
		return;
	}
	heed_user(session);
	if (polled[SENDER].revents != 0)
		note_sender_end(session);
	if (polled[OUTPUT].revents != 0)
		write_pending(session);
	if (polled[SOCKET].revents != 0) {
		session->released |= !reading;
		receive(session);
	}
	now_ns = clock_now_ns();
	if (polled[SOCKET].revents == 0 && now_ns >= deadline_ns(session))
		end(session, SESSION_STALL, ETIMEDOUT);
	show_progress(session, now_ns);
}

/*
 * Receives, compares and writes until the connection, the peer's time or the user ends it. At the
 * server's FIN the end is SESSION_OK for now.
 */
static void run_receiver(struct session *session)
{
	int r = output_open(session->options->output_fd, &session->output);

	if (r < 0)
		end(session, SESSION_OUTPUT_FAILED, -r);
	/* Writes all received bytes before the end, whatever the end is. */
	while (!session->ended || session->pending_size > 0)
		step(session);
	r = output_close(&session->output);
	if (r < 0 && session->result->end != SESSION_OUTPUT_FAILED)
		fail_output(session, -r);
}

/*
 * Both.
 */

/* Returns the sender's process id or -errno; other_fd is set in the first case. */
static pid_t start_sender(struct session *session)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		fd_close(pair[0]);
		session->other_fd = pair[1];
		run_sender(session);
		_exit(0);
	}
	if (pid < 0)
		pid = -errno;
	fd_close(pair[1]);
	session->other_fd = pair[0];
	return pid;
}

/* Tells the sender to end and waits for it, so that its counters are final. */
static void end_sender(pid_t pid, int other_fd)
{
	struct pollfd gone = { .fd = other_fd, .events = POLLIN };

	/* The sender never writes: what can be read is the end, when it exits. */
	shutdown(other_fd, SHUT_WR);
	while (poll(&gone, 1, SENDER_PATIENCE_MS) < 0 && errno == EINTR)
		;
	if (gone.revents == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Decides what depends on the final counters of the sender. */
static void judge(struct shared *shared, const struct session_options *options,
		  struct session_result *result)
{
	bool failed = shared->state == SENDER_FAILED;
	bool all_back;
	bool complete;

	result->bytes_sent = shared->sent;
	result->first_sent_ns = shared->first_sent_ns;
	result->fin_ns = shared->fin_ns;
	result->input_ended = shared->state == SENDER_FINISHED;
	all_back = result->bytes_received >= result->bytes_sent;
	complete = !options->verify || all_back;
	/*
	 * EPIPE and ENOTCONN beside an EOF are a reset that followed a FIN: the FIN counts. After
	 * an error of recv(2) they only say that it was there, and the reason is recv's.
	 */
	if (failed && (shared->end != SESSION_RESET ||
		       (result->end == SESSION_OK && shared->error != EPIPE &&
			shared->error != ENOTCONN))) {
		result->end = (enum session_end)shared->end;
		result->error = shared->error;
	} else if (result->end == SESSION_STALL && result->input_ended &&
		   (options->fin ? all_back : complete)) {
		/* Without our FIN, silence is the normal end. */
		result->end = options->fin ? SESSION_NO_EOF : SESSION_OK;
	} else if (result->end == SESSION_OK && !(complete && result->input_ended)) {
		result->end = SESSION_EARLY_EOF;
	}
	if (options->verify &&
	    (result->end <= SESSION_EARLY_EOF || result->end == SESSION_NO_EOF) &&
	    inflight_check_tail(&shared->inflight, &result->difference) != INFLIGHT_EQUAL)
		result->end = SESSION_CORRUPT;
	result->verified = options->verify && result->end == SESSION_OK;
}

void session_run(int socket_fd, const struct session_options *options,
		 struct session_result *ret_result)
{
	struct session session = {
		.socket_fd = socket_fd,
		.other_fd = -1,
		.options = options,
		.result = ret_result,
	};
	int r = 0;

	assert(socket_fd >= 0);
	*ret_result = (struct session_result){
		.output_name = options->output_name,
		.started_ns = clock_now_ns(),
	};
	session.next_progress_ns = ret_result->started_ns + CLOCK_NS_PER_S;
	session.shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (session.shared == MAP_FAILED) {
		end(&session, SESSION_BROKEN, ENOMEM);
		ret_result->ended_ns = clock_now_ns();
		return;
	}
	session.shared->inflight.fd = -1;
	if (options->verify)
		r = inflight_open(&session.shared->inflight, INFLIGHT_EXACT_BYTES);
	if (r == 0)
		r = start_sender(&session);
	if (r > 0) {
		run_receiver(&session);
		end_sender(r, session.other_fd);
		judge(session.shared, options, ret_result);
	} else {
		end(&session, SESSION_BROKEN, -r);
	}
	ret_result->ended_ns = clock_now_ns();
	fd_close(session.other_fd);
	fd_close(session.shared->inflight.fd);
	munmap(session.shared, sizeof(struct shared));
}
