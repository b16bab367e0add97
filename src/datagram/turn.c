/* SPDX-License-Identifier: MIT */
/*
 * A turn costs two system calls for up to 32 datagrams, and more only if the kernel does not take
 * an answer. The answer is sent from the received bytes: nothing is copied. A datagram that the
 * kernel has merged from several (UDP_GRO) goes back as one, and the kernel or the card cuts it
 * (UDP_SEGMENT). Not every path can do that (a device without checksums; pieces that are longer
 * than the path's MTU): then the pieces are sent one by one. Sending never waits: UDP may lose
 * datagrams, but no queue may grow.
 */
#include "datagram/datagram.h"

#include "base/sys.h"

/* A counter with one writer. */
static void count(_Atomic uint64_t *counter, uint64_t more)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, old + more, memory_order_relaxed);
}

/* in[0] to in[used - 1] can be received into once more. */
static void prepare(struct turn *turn, uint32_t used)
{
	for (uint32_t i = 0; i < used; i++) {
		turn->parts[i].bytes.iov_len = TURN_BYTES;
		turn->in[i].msg_hdr.msg_namelen = sizeof(turn->parts[i].peer);
		turn->in[i].msg_hdr.msg_controllen = sizeof(turn->parts[i].control);
	}
}

static void note_drop(struct turn *turn, const struct endpoint *peer, enum drop_reason reason,
		      struct datagram_counters *counters, uint32_t dropped)
{
	struct datagram_drop *last = &turn->counters->last[reason];
	/* a process that was killed here has left it odd */
	uint32_t odd = atomic_load_explicit(&last->sequence, memory_order_relaxed) | 1;

	count(&counters->dropped[reason], dropped);
	atomic_store_explicit(&last->sequence, odd, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	last->peer = *peer;
	atomic_store_explicit(&last->sequence, odd + 1, memory_order_release);
}

static uint32_t pieces(size_t size, uint16_t segment)
{
	return segment == 0 || size <= segment ? 1 : (uint32_t)((size + segment - 1) / segment);
}

/* Judges in[from]. Returns true if out[to] is its answer. */
static bool judge_one(struct turn *turn, uint32_t index, uint32_t from, uint32_t to,
		      uint64_t now_ns)
{
	const struct settings *settings = turn->judge.settings;
	const struct settings_socket *socket = &settings_sockets(settings)[index];
	struct datagram_counters *counters = &turn->counters->sockets[index];
	const size_t size = turn->in[from].msg_len;
	struct msghdr *answer = &turn->out[to].msg_hdr;
	uint32_t came, allowed;
	struct reception reception;
	enum drop_reason reason;

	if (!reception_read(&turn->in[from].msg_hdr, &reception))
		return false;
	came = pieces(size, reception.segment);
	count(&counters->received, came);
	count(&counters->bytes_in, size);
	allowed = judge_datagrams(&turn->judge, socket, &reception, came, now_ns, &reason);
	if (allowed < came)
		note_drop(turn, &reception.peer, reason, counters, came - allowed);
	if (allowed == 0)
		return false;
	turn->parts[from].bytes.iov_len = allowed < came ? (size_t)allowed * reception.segment :
							   size;
	if (allowed == 1)
		reception.segment = 0;
	/* a socket that is bound to one address answers from it: that costs less */
	if (!socket->wildcard)
		reception.has_local = false;
	if ((settings->flags & SETTINGS_TOS_MIRROR) == 0)
		reception.tos = 0;
	turn->segments[to] = reception.segment;
	*answer = turn->in[from].msg_hdr;
	answer->msg_controllen = reception_answer(&reception, turn->parts[from].control);
	answer->msg_flags = 0;
	return true;
}

static void count_sent(struct datagram_counters *counters, uint32_t sent, size_t bytes)
{
	count(&counters->sent, sent);
	count(&counters->bytes_out, bytes);
}

static int send_some(int fd, struct mmsghdr *messages, uint32_t number)
{
	return sys_sendmmsg(fd, messages, number, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sends an answer piece by piece; returns how many were sent. */
static uint32_t send_pieces(struct datagram_counters *counters, int fd,
			    const struct mmsghdr *answer, uint16_t segment)
{
	const struct iovec *whole = answer->msg_hdr.msg_iov;
	struct mmsghdr message = *answer;
	uint32_t sent = 0;

	count(&counters->unmerged, 1);
	message.msg_hdr.msg_controllen -= RECEPTION_SEGMENT_BYTES;
	for (size_t done = 0; done < whole->iov_len; done += segment) {
		size_t left = whole->iov_len - done;
		struct iovec piece = { (uint8_t *)whole->iov_base + done,
				       left < segment ? left : segment };

		message.msg_hdr.msg_iov = &piece;
		if (send_some(fd, &message, 1) == 1) {
			sent++;
			count_sent(counters, 1, piece.iov_len);
		}
	}
	return sent;
}

/* The kernel did not take out[at]. */
static void send_failed(struct turn *turn, int fd, uint32_t index, uint32_t at, int error)
{
	struct datagram_counters *counters = &turn->counters->sockets[index];
	const struct mmsghdr *answer = &turn->out[at];
	const uint16_t segment = turn->segments[at];
	uint32_t unsent = pieces(answer->msg_hdr.msg_iov->iov_len, segment);
	struct endpoint peer;

	if (segment != 0 && (error == -EIO || error == -EINVAL || error == -EMSGSIZE))
		unsent -= send_pieces(counters, fd, answer, segment);
	if (unsent == 0)
		return;
	endpoint_set(&peer, answer->msg_hdr.msg_name);
	note_drop(turn, &peer, DROP_UNSENT, counters, unsent);
}

/*
 * A call stops before the answer that it cannot send, and returns the reason only if that is the
 * first.
 */
static void send_batch(struct turn *turn, int fd, uint32_t index, uint32_t answers)
{
	uint32_t at = 0;

	while (at < answers) {
		int n = send_some(fd, &turn->out[at], answers - at);

		if (n <= 0)
			send_failed(turn, fd, index, at++, n);
		for (int i = 0; i < n; i++, at++) {
			size_t size = turn->out[at].msg_hdr.msg_iov->iov_len;

			count_sent(&turn->counters->sockets[index],
				   pieces(size, turn->segments[at]), size);
		}
	}
}

void turn_init(struct turn *turn, const struct settings *settings, struct datagrams *counters,
	       uint64_t seed)
{
	turn->counters = counters;
	judge_init(&turn->judge, settings, seed, sys_now_ns());
	for (uint32_t i = 0; i < TURN_BATCH; i++) {
		struct turn_part *part = &turn->parts[i];

		part->bytes.iov_base = turn->slots[i];
		turn->in[i].msg_hdr = (struct msghdr){
			.msg_name = &part->peer,
			.msg_iov = &part->bytes,
			.msg_iovlen = 1,
			.msg_control = part->control,
		};
	}
	prepare(turn, TURN_BATCH);
}

bool turn_run(struct turn *turn, int fd, uint32_t index)
{
	int n = sys_recvmmsg(fd, turn->in, TURN_BATCH, MSG_DONTWAIT);
	uint32_t came = n > 0 ? (uint32_t)n : 0, answers = 0;
	uint64_t now_ns = came > 0 ? sys_now_ns() : 0;

	for (uint32_t i = 0; i < came; i++)
		answers += judge_one(turn, index, i, answers, now_ns);
	send_batch(turn, fd, index, answers);
	prepare(turn, came);
	return came == TURN_BATCH;
}
