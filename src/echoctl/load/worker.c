/* SPDX-License-Identifier: MIT */
/* One process of load: an epoll loop that allocates nothing for a message. */
#include "echoctl/load/load.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/probe/payload.h"

#define FLOW_BATCH 64
#define BUFFER_BYTES (4 << 20)		/* what comes while others have their turn is kept */
#define BATCH 256			/* events taken at a time */
#define CONNECTING_MAX 64		/* at a time, so that no backlog overflows */
#define SWEEP_NS 100000000u		/* between looks for what is overdue or to be opened */
#define START_POLL_NS 1000000u
#define SUSPENDED_NS CLOCK_NS_PER_S	/* if we are awake later than this, we were stopped */
#define RETRY_NS 1000000u		/* before the next look at a backlog that is full */

/*
 * Returns now_ns, the time. If it is long after the time at which we had to be awake, we were
 * stopped between: that time is left out, and no message is late because of it.
 */
static uint64_t awake_at(struct load_worker *worker, uint64_t now_ns)
{
	uint64_t stopped_ns = worker->awake_ns > 0 && now_ns > worker->awake_ns ?
		now_ns - worker->awake_ns : 0;

	worker->awake_ns = now_ns;
	if (stopped_ns < SUSPENDED_NS)
		return now_ns;
	for (size_t i = 0; i < worker->n_connections; i++)
		worker->connections[i].stopped_ns += stopped_ns;
	worker->tally->stopped_ns += stopped_ns;
	if (worker->end_ns > now_ns - stopped_ns) {
		worker->schedule.start_ns += stopped_ns;
		worker->end_ns += stopped_ns;
	}
	return now_ns;
}

/* True if there are messages left to begin, and time for them. */
static bool has_more(const struct load_worker *worker, uint64_t now_ns)
{
	return worker->tally->begun < worker->quota &&
		(worker->end_ns == 0 || now_ns < worker->end_ns);
}

/* True if the time of a connection that connects or carries a message is over. */
static bool is_overdue(const struct load_worker *worker, const struct load_connection *connection,
		       uint64_t now_ns)
{
	uint64_t limit_us = connection->state == CONNECTING ? worker->load->dial.timeout_us :
			    worker->load->timeout_us;

	/* A stop that was noticed late may be longer than the time since the beginning. */
	return now_ns - connection->began_ns > limit_us * 1000 + connection->stopped_ns;
}

/* When the next message is due, with a rate. */
static uint64_t next_due_ns(const struct load_worker *worker)
{
	/* Messages are dealt out in turn: ours are every n-th of the common schedule. */
	return schedule_due_ns(&worker->schedule,
			       worker->dealt * worker->load->processes + worker->index);
}

/* Makes the connection free for a message: it is long-lived and open, or will be opened for it. */
static void set_free(struct load_worker *worker, struct load_connection *connection)
{
	connection->state = IDLE;
	if (connection->queued)
		return;
	connection->queued = true;
	connection->next = NULL;
	if (worker->idle_first)
		worker->idle_last->next = connection;
	else
		worker->idle_first = connection;
	worker->idle_last = connection;
}

/* Returns the connection that has been free longest; NULL if none is free. */
static struct load_connection *first_free(struct load_worker *worker)
{
	while (worker->idle_first && worker->idle_first->state != IDLE) {
		worker->idle_first->queued = false;
		worker->idle_first = worker->idle_first->next;
	}
	return worker->idle_first;
}

/* Counts what the kernel has sent again since the last time. Returns its rtt; 0: none. */
static uint64_t count_retransmits(struct load_worker *worker, struct load_connection *connection)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return 0;
	worker->tally->retransmits += info.tcpi_total_retrans - connection->retransmits;
	connection->retransmits = info.tcpi_total_retrans;
	return (uint64_t)info.tcpi_rtt * CLOCK_NS_PER_US;
}

/* The last look at a connection, which may not be open. */
static void look_at_end(struct load_worker *worker, struct load_connection *connection)
{
	uint64_t rtt_ns = connection->fd >= 0 ? count_retransmits(worker, connection) : 0;

	if (rtt_ns > 0)
		histogram_record(&worker->tally->tcp_rtt, rtt_ns);
}

static void hang_up(struct load_worker *worker, struct load_connection *connection)
{
	if (connection->state == CONNECTING)
		worker->connecting--;
	else if (connection->fd >= 0)
		worker->tally->open--;
	if (connection->active)
		worker->active--;
	connection->active = false;
	look_at_end(worker, connection);
	connection->fd = fd_close(connection->fd);
	connection->state = CLOSED;
}

/*
 * Whether a connection that fails counts as a failure of the next message. With a rate it does only
 * if that message is due, so that the sum is what was due; with a count of messages it always does,
 * so that the run ends even if the server is dead.
 */
static bool costs_next(const struct load_worker *worker, uint64_t now_ns)
{
	if (!has_more(worker, now_ns))
		return false;
	return worker->load->rate == 0 || worker->load->messages > 0 ||
		(worker->end_ns > 0 && next_due_ns(worker) <= now_ns);
}

/*
 * Closes; counts a failed message, unless none was under way and none is left to begin. The error
 * is -errno, or what exchange_why() takes.
 */
static void fail(struct load_worker *worker, struct load_connection *connection,
		 enum load_phase phase, int error)
{
	uint64_t now_ns = awake_at(worker, clock_now_ns());
	bool costs = !connection->active && costs_next(worker, now_ns);

	if (connection->active || costs) {
		worker->tally->errors[phase]++;
		worker->tally->reasons[phase] = error;
	}
	if (connection->flow && phase == LOAD_ECHO)
		connection->flow->tally->lost++;
	if (costs) {
		worker->tally->begun++;
		worker->tally->last_ns = now_ns;
		/* With a count of messages the next one keeps its time in the schedule. */
		if (worker->load->messages == 0)
			worker->dealt++;
	}
	connection->tried = true;
	hang_up(worker, connection);
}

static int watch(struct load_worker *worker, struct load_connection *connection, int operation,
		 uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = connection };

	connection->writes = events & EPOLLOUT;
	return epoll_ctl(worker->epoll_fd, operation, connection->fd, &event) < 0 ? -errno : 0;
}

/* Called again if a Unix backlog was full. If no socket can be made the process ends. */
static void try_to_connect(struct load_worker *worker, struct load_connection *connection)
{
	struct dial_options options = worker->load->dial;
	enum dial_phase phase;
	uint64_t soon_ns;
	int fd;
	int r;

	/* The other connections cannot wait. */
	options.at_once = true;
	fd = dial_start(&worker->load->target, &options, &phase);
	if (fd == -EAGAIN) {
		soon_ns = clock_now_ns() + RETRY_NS;
		if (soon_ns < worker->sweep_ns)
			worker->sweep_ns = soon_ns;
		return;
	}
	if (fd < 0 && phase == DIAL_SOCKET) {
		worker->error = fd;
		return;
	}
	connection->fd = fd;
	r = fd < 0 ? fd : watch(worker, connection, EPOLL_CTL_ADD, EPOLLOUT);
	if (r < 0)
		fail(worker, connection, LOAD_CONNECT, r);
}

static void start_connecting(struct load_worker *worker, struct load_connection *connection,
			     uint64_t now_ns)
{
	connection->began_ns = now_ns;
	connection->stopped_ns = 0;
	connection->message = 0;
	connection->retransmits = 0;
	connection->state = CONNECTING;
	worker->connecting++;
	try_to_connect(worker, connection);
}

static void push(struct load_worker *worker, struct load_connection *connection)
{
	int r = exchange_send(connection->fd, &connection->exchange);
	bool writes = connection->exchange.sent_bytes < connection->exchange.size;

	if (r == 0 && writes != connection->writes)
		r = watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN | (writes ? EPOLLOUT : 0));
	if (r < 0)
		fail(worker, connection, LOAD_SEND, r);
}

/* A datagram's number: its place in the window, and above that how many were sent from there. */
static void send_datagram(struct load_worker *worker, struct load_connection *connection)
{
	struct load_flow *flow = connection->flow;
	struct datagram_probe *probe = &flow->probe;
	uint32_t place = (uint32_t)(connection - flow->connections);
	int r;

	probe->sequence = (uint32_t)(connection->message++ << LOAD_WINDOW_BITS) | place;
	probe->sent_ns = connection->began_ns;
	connection->sequence = probe->sequence;
	connection->state = ECHOING;
	datagram_fill(probe, worker->datagram);
	r = datagram_send(&flow->socket, probe->sequence, worker->datagram, probe->size_bytes);
	if (r < 0)
		fail(worker, connection, LOAD_SEND, r);
	else
		flow->tally->sent++;
}

static void send_message(struct load_worker *worker, struct load_connection *connection)
{
	/* Its number among those of all processes. */
	uint64_t number = (uint64_t)(connection - worker->connections) * worker->load->processes +
		worker->index;

	connection->exchange = (struct exchange){
		.bytes = worker->load->table + payload_window(number, connection->message++),
		.size = worker->load->size_bytes,
	};
	connection->state = ECHOING;
	push(worker, connection);
}

/* Begins messages that were due before the end, as long as a connection is free. */
static void begin_due(struct load_worker *worker, uint64_t now_ns)
{
	struct load_connection *connection = first_free(worker);
	uint64_t due_ns;

	while (connection && worker->error == 0 && worker->tally->begun < worker->quota) {
		due_ns = worker->load->rate > 0 ? next_due_ns(worker) : now_ns;
		if (due_ns > now_ns || due_ns >= worker->end_ns)
			return;
		worker->idle_first = connection->next;
		connection->queued = false;
		connection->active = true;
		connection->due_ns = due_ns;
		connection->began_ns = now_ns;
		connection->stopped_ns = 0;
		worker->tally->last_ns = now_ns;
		worker->active++;
		worker->tally->begun++;
		worker->dealt++;
		if (worker->load->reconnect)
			start_connecting(worker, connection, now_ns);
		else if (connection->flow)
			send_datagram(worker, connection);
		else
			send_message(worker, connection);
		/* Each of many that begin together has its own time. */
		connection = first_free(worker);
		if (connection)
			now_ns = awake_at(worker, clock_now_ns());
	}
}

static void take_connection(struct load_worker *worker, struct load_connection *connection)
{
	uint64_t now_ns = awake_at(worker, clock_now_ns());
	int error = 0;

	getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error == 0 && is_overdue(worker, connection, now_ns))
		error = ETIMEDOUT;
	if (error == 0)
		error = -dial_announce(connection->fd, &dial_path.announcement);
	if (error == 0)
		error = -watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN);
	if (error != 0) {
		fail(worker, connection, LOAD_CONNECT, -error);
		return;
	}
	/* Unix sockets refuse it, and do not need it. */
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	connection->tried = true;
	worker->connecting--;
	worker->tally->connections++;
	worker->tally->open++;
	histogram_record(&worker->tally->connect, now_ns - connection->began_ns);
	if (connection->active)
		send_message(worker, connection);
	else
		set_free(worker, connection);
}

/* From then to the echo, without the time in which we were stopped, if that is in it. */
static uint64_t time_from(const struct load_connection *connection, uint64_t from_ns)
{
	uint64_t ns = connection->echoed_ns - from_ns;

	return ns >= connection->stopped_ns ? ns - connection->stopped_ns : ns;
}

/* A message has succeeded; with --reconnect the end of its connection, too. */
static void finish(struct load_worker *worker, struct load_connection *connection, uint64_t now_ns)
{
	worker->tally->last_ns = now_ns;
	histogram_record(&worker->tally->raw, time_from(connection, connection->began_ns));
	if (worker->load->rate > 0)
		histogram_record(&worker->tally->corrected,
				 time_from(connection, connection->due_ns));
	if (connection->state == CLOSING)
		hang_up(worker, connection);
	else
		worker->active--;
	connection->active = false;
	set_free(worker, connection);
	if (now_ns < worker->end_ns)
		begin_due(worker, now_ns);
}

/* Takes the echo; behind it, and without a message on its way, only the peer's FIN may come. */
static void take_input(struct load_worker *worker, struct load_connection *connection)
{
	enum load_phase phase = connection->state == CLOSING ? LOAD_EOF : LOAD_ECHO;
	size_t before = connection->exchange.received_bytes;
	int r = exchange_receive(connection->fd, &connection->exchange);
	uint64_t now_ns;

	worker->tally->bytes += connection->exchange.received_bytes - before;
	if (r == 0)
		return;
	now_ns = awake_at(worker, clock_now_ns());
	if (r > 0 && is_overdue(worker, connection, now_ns))
		r = -ETIMEDOUT;
	if (r < 0) {
		if (connection->message <= 1)
			payload_note_end(r, connection->exchange.received_bytes);
		fail(worker, connection, r == -EBADMSG ? LOAD_VERIFY : phase, r);
		return;
	}
	if (connection->state == ECHOING)
		connection->echoed_ns = now_ns;
	if (connection->state == CLOSING || !worker->load->reconnect) {
		finish(worker, connection, now_ns);
		return;
	}
	connection->state = CLOSING;
	connection->exchange.half_close = true;
	if (shutdown(connection->fd, SHUT_WR) < 0)
		fail(worker, connection, LOAD_EOF, -errno);
}

void load_worker_take(struct load_worker *worker, struct load_connection *connection,
		      uint32_t events)
{
	assert(connection->fd >= 0 || connection->state == CLOSED);
	if (connection->state == CONNECTING) {
		take_connection(worker, connection);
		return;
	}
	/* Input first: an error of sending must not hide it. */
	if (connection->state != CLOSED && events & ~(uint32_t)EPOLLOUT)
		take_input(worker, connection);
	if (connection->state == ECHOING && connection->writes && events & EPOLLOUT)
		push(worker, connection);
}

/* The message that bytes are about: the one they name, or any if they name none. NULL: none. */
static struct load_connection *find_message(const struct load_worker *worker,
					    struct load_flow *flow, const uint8_t *bytes,
					    size_t size)
{
	struct load_connection *found = flow->connections;
	uint32_t sequence = 0;

	switch (datagram_identify(bytes, size, flow->probe.run, &sequence)) {
	case DATAGRAM_OURS:
		found += sequence % LOAD_WINDOW_MAX % worker->load->window;
		/* A datagram that comes twice or too late was already counted. */
		return found->active && found->sequence == sequence ? found : NULL;
	case DATAGRAM_FOREIGN:
		return NULL;
	default:
		for (uint64_t i = 0; i < worker->load->window; i++, found++) {
			if (found->active)
				return found;
		}
		return NULL;
	}
}

static void take_echo(struct load_worker *worker, struct load_connection *connection,
		      enum datagram_verdict verdict, const struct datagram_event *event)
{
	bool kernel;

	if (is_overdue(worker, connection, event->received_ns)) {
		fail(worker, connection, LOAD_ECHO, -ETIMEDOUT);
	} else if (verdict != DATAGRAM_INTACT) {
		fail(worker, connection, LOAD_VERIFY, -EBADMSG);
	} else {
		worker->tally->bytes += worker->load->size_bytes;
		connection->echoed_ns = connection->began_ns +
			datagram_time_ns(&connection->flow->socket, connection->sequence,
					 connection->began_ns, event, &kernel);
		worker->tally->stamped += kernel;
		worker->tally->unstamped += !kernel;
		finish(worker, connection, event->received_ns);
	}
}

/* Several messages may have been merged into one: none of them is well. */
static void take_datagram(struct load_worker *worker, struct load_flow *flow,
			  const struct datagram_event *event)
{
	size_t size = flow->probe.size_bytes;
	bool merged = false;
	size_t at = 0;

	do {
		struct load_connection *connection = find_message(worker, flow, event->bytes + at,
								  event->size_bytes - at);
		struct datagram_probe probe = flow->probe;
		enum datagram_verdict verdict;

		if (!connection)
			return;
		probe.sequence = connection->sequence;
		probe.sent_ns = connection->began_ns;
		verdict = datagram_judge(&probe, event->bytes + at, event->size_bytes - at).verdict;
		merged |= verdict == DATAGRAM_MERGED;
		take_echo(worker, connection, merged ? DATAGRAM_MERGED : verdict, event);
		at += verdict == DATAGRAM_MERGED ? size : event->size_bytes - at;
	} while (at < event->size_bytes);
}

/* Events of a flow's socket, a few, so that the other flows have their turn. */
static void take_flow(struct load_worker *worker, struct load_flow *flow)
{
	struct load_connection *connection;
	struct datagram_event event;

	for (unsigned i = 0; i < FLOW_BATCH; i++) {
		int r = datagram_receive(&flow->socket, &event);

		if (r < 0)
			worker->error = r;
		if (r <= 0)
			return;
		if (!event.is_error) {
			awake_at(worker, event.received_ns);
			take_datagram(worker, flow, &event);
			continue;
		}
		connection = NULL;
		if (datagram_may_quote(&flow->probe, event.bytes, event.size_bytes))
			connection = find_message(worker, flow, event.bytes, event.size_bytes);
		if (connection)
			fail(worker, connection, LOAD_ECHO, -event.error);
	}
}

/* The phase in which the connection would fail now. */
static enum load_phase phase_of(const struct load_connection *connection)
{
	if (connection->state == CONNECTING)
		return LOAD_CONNECT;
	if (connection->state == CLOSING)
		return LOAD_EOF;
	return connection->exchange.sent_bytes < connection->exchange.size ? LOAD_SEND : LOAD_ECHO;
}

/*
 * Gives up what takes too long. Opens closed connections, a few at a time: each once before the
 * start, later as long as there are messages for them.
 */
static void sweep(struct load_worker *worker, uint64_t now_ns)
{
	bool all_tried = true;

	worker->sweep_ns = now_ns + (worker->end_ns > 0 ? SWEEP_NS : START_POLL_NS);
	for (size_t i = 0; i < worker->n_connections; i++) {
		struct load_connection *connection = &worker->connections[i];

		if ((connection->active || connection->state == CONNECTING) &&
		    is_overdue(worker, connection, now_ns))
			fail(worker, connection, phase_of(connection), -ETIMEDOUT);
		else if (connection->state == CONNECTING && connection->fd < 0)
			try_to_connect(worker, connection);
		else if ((worker->load->reconnect || connection->flow) &&
			 connection->state == CLOSED)
			set_free(worker, connection);
		else if (connection->state == CLOSED && worker->connecting < CONNECTING_MAX &&
			 (!connection->tried || (worker->end_ns > 0 && has_more(worker, now_ns))))
			start_connecting(worker, connection, now_ns);
		if (worker->load->series.path && connection->fd >= 0)
			count_retransmits(worker, connection);
		all_tried &= connection->tried;
	}
	if (worker->load->reconnect || worker->load->udp || all_tried)
		__atomic_store_n(&worker->tally->ready, true, __ATOMIC_RELEASE);
}

static void wait_for_events(struct load_worker *worker, uint64_t now_ns)
{
	struct epoll_event events[BATCH];
	uint64_t wake_ns = worker->sweep_ns;
	struct timespec timeout = {0};
	int count;

	if (worker->end_ns == 0)
		wake_ns = now_ns + START_POLL_NS;
	else if (worker->load->rate > 0 && worker->tally->begun < worker->quota &&
		 now_ns < worker->end_ns && first_free(worker) && next_due_ns(worker) < wake_ns)
		wake_ns = next_due_ns(worker);
	if (wake_ns > now_ns)
		timeout.tv_nsec = (long)(wake_ns - now_ns);
	worker->awake_ns = wake_ns > now_ns ? wake_ns : now_ns;
	count = epoll_pwait2(worker->epoll_fd, events, BATCH, &timeout, NULL);
	awake_at(worker, clock_now_ns());
	for (int i = 0; i < count; i++)
		if (worker->load->udp)
			take_flow(worker, events[i].data.ptr);
		else
			load_worker_take(worker, events[i].data.ptr, events[i].events);
	if (count < 0 && errno != EINTR)
		worker->error = -errno;
}

static void work(struct load_worker *worker)
{
	const struct load_shared *shared = worker->load->shared;
	bool is_over = false;

	while (worker->error == 0) {
		uint64_t now_ns = awake_at(worker, clock_now_ns());
		uint64_t start_ns = __atomic_load_n(&shared->start_ns, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&shared->stop, __ATOMIC_RELAXED))
			break;
		/* The parent has given the signal: from now on messages may begin. */
		if (worker->end_ns == 0 && start_ns > 0) {
			worker->schedule.start_ns = start_ns;
			worker->end_ns = start_ns + worker->load->duration_us * 1000;
		}
		if (now_ns >= worker->sweep_ns)
			sweep(worker, now_ns);
		/* Once more at the first look after the end, which may come late. */
		if (!is_over)
			begin_due(worker, now_ns);
		is_over = worker->end_ns > 0 && now_ns >= worker->end_ns;
		if (worker->end_ns > 0 && worker->active == 0 &&
		    (is_over || worker->tally->begun >= worker->quota))
			break;
		if (worker->error == 0)
			wait_for_events(worker, now_ns);
	}
}

/* The share of process number index when total is dealt out in turn. */
static uint64_t share(uint64_t total, uint64_t processes, uint64_t index)
{
	return total / processes + (index < total % processes ? 1 : 0);
}

/* Their latency is unknown, so they are counted separately and not left out. */
static uint64_t count_not_begun(const struct load_worker *worker)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t until_ns = now_ns < worker->end_ns ? now_ns : worker->end_ns - 1;
	uint64_t begun = worker->tally->begun;
	uint64_t left = worker->quota > begun ? worker->quota - begun : 0;
	uint64_t due;

	if (worker->load->rate == 0 || worker->end_ns == 0)
		return 0;
	due = share(schedule_count(&worker->schedule, until_ns), worker->load->processes,
		    worker->index);
	due = due > worker->dealt ? due - worker->dealt : 0;
	return due < left ? due : left;
}

static int open_flow(struct load_worker *worker, size_t index, uint64_t run)
{
	const struct load *load = worker->load;
	struct load_flow *flow = &worker->flows[index];
	struct dial_options options = load->dial;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = flow };
	/* Of the longer IPv6 address the beginning: the port is in the same place. */
	struct sockaddr_in own = {0};
	enum dial_phase phase;
	int fd;
	int r;

	options.receive_buffer_bytes = BUFFER_BYTES;
	fd = dial_start(&load->target, &options, &phase);
	if (fd < 0)
		return fd;
	r = datagram_open(fd, &load->target, 0, load->window > 1 ? LOAD_WINDOW_MAX : 1,
			  &flow->socket);
	if (r < 0)
		return r;
	getsockname(fd, (struct sockaddr *)&own, &(socklen_t){sizeof(own)});
	flow->tally = &load->flows[index * load->processes + worker->index];
	flow->tally->port = ntohs(own.sin_port);
	flow->probe = (struct datagram_probe){ .run = run, .size_bytes = load->size_bytes };
	flow->connections = &worker->connections[index * load->window];
	for (uint64_t i = 0; i < load->window; i++)
		flow->connections[i].flow = flow;
	worker->tally->connections++;
	worker->tally->open++;
	return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_flows(struct load_worker *worker)
{
	uint64_t run = datagram_run();
	int r = 0;

	worker->datagram = malloc(DATAGRAM_MAX_BYTES);
	worker->flows = calloc(worker->n_flows, sizeof(*worker->flows));
	if (!worker->datagram || !worker->flows)
		return -ENOMEM;
	for (size_t i = 0; i < worker->n_flows && r == 0; i++)
		r = open_flow(worker, i, run);
	return r;
}

int load_work(const struct load *load, uint64_t index)
{
	size_t n_flows = share(load->connections, load->processes, index);
	size_t n_connections = n_flows * load->window;
	struct load_worker worker = {
		.load = load,
		.tally = &load->shared->tallies[index],
		.index = index,
		.n_connections = n_connections,
		.n_flows = n_flows,
		.quota = load->messages > 0 ? share(load->messages, load->processes, index) :
			UINT64_MAX,
		.connections = calloc(n_connections, sizeof(*worker.connections)),
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
		.schedule = {
			.period_ns = CLOCK_NS_PER_S,
			.per_period = load->rate > 0 ? load->rate : 1,
		},
	};

	assert(index < load->processes && load->processes <= load->connections);
	if (worker.epoll_fd < 0)
		worker.error = -errno;
	if (!worker.connections)
		worker.error = -ENOMEM;
	for (size_t i = 0; worker.connections && i < n_connections; i++)
		worker.connections[i].fd = -1;
	if (load->udp && worker.error == 0)
		worker.error = open_flows(&worker);
	prctl(PR_SET_TIMERSLACK, 1);
	work(&worker);
	worker.tally->not_begun = count_not_begun(&worker);
	for (size_t i = 0; worker.connections && i < n_connections; i++)
		look_at_end(&worker, &worker.connections[i]);
	free(worker.connections);
	free(worker.flows);
	free(worker.datagram);
	/* The process ends here, and its connections with it. */
	return worker.error;
}
