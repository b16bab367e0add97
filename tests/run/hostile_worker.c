/* SPDX-License-Identifier: MIT */
/*
 * A worker that its peer has taken over. It is the real one in the real sandbox, with one fault:
 * where it would send back bytes that begin with MAGIC it does what they say, and answers with
 * what came of it. test_hostile_worker.py is the peer.
 */
#include "worker/worker.h"

#include "base/sys.h"

#define MAGIC 0x6c6974736f68ull	/* "hostil" */

enum order { ORDER_CALL, ORDER_CALL_32, ORDER_READ, ORDER_WRITE, ORDER_VANISH };

struct command {
	uint64_t magic;
	uint64_t order;		/* enum order */
	uint64_t number;	/* of the system call; else the address */
	int64_t arguments[6];	/* ORDER_WRITE: the word; ORDER_VANISH: the proof */
	uint8_t scratch[64];	/* for what arguments point at */
};

struct answer {
	int64_t result;		/* or -errno; ORDER_READ: the word */
	uint64_t scratch;	/* its address, and those of other things */
	uint64_t slot;
	uint64_t command_word;
	uint64_t settings;
	uint8_t bytes[64];	/* of the scratch, afterwards */
};

/* As a program of 32 bits would call. */
static int64_t call_32(const struct command *command)
{
#if defined(__x86_64__)
	int64_t result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "0"(command->number), "b"(command->arguments[0]),
			   "c"(command->arguments[1]), "d"(command->arguments[2])
			 : "r8", "r9", "r10", "r11", "memory");
	return result;
#else
	(void)command;
	return -ENOSYS;
#endif
}

/* Ends as if nothing had come. */
static noreturn void vanish(struct slot *slot, uint64_t proof)
{
	slot->bytes_in = slot->bytes_out = 0;
	slot->proof = proof;
	sys_exit(END_FIN);
}

static int64_t obey(const struct echo *echo, const struct command *command)
{
	volatile uint64_t *word = (volatile uint64_t *)(uintptr_t)command->number;
	const int64_t *arguments = command->arguments;

	switch (command->order) {
	case ORDER_CALL:
		return sys_call((long)command->number, arguments[0], arguments[1], arguments[2],
				arguments[3], arguments[4], arguments[5]);
	case ORDER_CALL_32:
		return call_32(command);
	case ORDER_READ:
		return (int64_t)*word;
	case ORDER_VANISH:
		vanish(echo->slot, (uint64_t)arguments[0]);
	default:
		*word = (uint64_t)arguments[0];
		return 0;
	}
}

static ssize_t hostile_send(const struct echo *echo, const void *bytes, size_t size, int flags)
{
	const struct command *command = bytes;
	struct answer answer = { .slot = (uintptr_t)echo->slot };

	if (size < sizeof(*command) || command->magic != MAGIC)
		return sys_send(echo->fd, bytes, size, flags);
	answer.scratch = (uintptr_t)command->scratch;
	answer.command_word = (uintptr_t)echo->command;
	answer.settings = (uintptr_t)echo->settings;
	answer.result = obey(echo, command);
	for (size_t i = 0; i < sizeof(answer.bytes); i++)
		answer.bytes[i] = command->scratch[i];
	(void)sys_send(echo->fd, &answer, sizeof(answer), flags);
	return (ssize_t)size;
}

#define sys_send(fd, bytes, size, flags) hostile_send(echo, bytes, size, flags)
#include "../src/worker/echo.c"
