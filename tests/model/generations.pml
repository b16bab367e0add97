/* SPDX-License-Identifier: MIT */
/*
 * The protocol of supervisor, listeners and workers: accept, fork, reap, reload, a listener
 * that dies, drain. spin checks every interleaving of a small instance:
 *
 *   no slot is used twice, no worker is lost, each is reaped once and by its parent,
 *   the counters add up when all is over      assertions
 *   a reload never leaves nobody to accept    never_deaf
 *   drain ends                                drain_ends, under weak fairness
 *
 * Left out: bytes, timers but for "the drain time is over", and the ring of events, which
 * only carries copies of what the table says.
 */

#define GENERATIONS 3		/* listeners started at most: the first, reloads, replacements */
#define SLOTS 2			/* workers of one generation */
#define CONNECTIONS 2
#ifndef CRASHES
#define CRASHES 1		/* listeners that may die on their own */
#endif
#define ALL (GENERATIONS * SLOTS)

mtype = { READY, STOP };					/* messages of the channel */
mtype = { UNBORN, STARTING, ACCEPTING, STOPPING, DEAD, GONE };	/* a listener; GONE: waited for */
mtype = { FREE, LIVE, ZOMBIE };					/* a slot */

chan command[GENERATIONS] = [1] of { mtype };
chan report = [GENERATIONS] of { mtype, byte };

mtype listener_state[GENERATIONS] = UNBORN;
bool orphaned[GENERATIONS];	/* its workers are the supervisor's children */
mtype slot[ALL] = FREE;
bool stays[ALL];		/* a peer that never leaves by itself */
bool told[ALL];			/* the drain time is over: command and signal were sent */

byte backlog;			/* connections that wait in the kernel */
byte forked, reaped;
byte acceptors;			/* listeners with the sockets in their poll set */
byte crashes;
byte next;			/* number of the next generation */
bool serving, terminating, stopped;

inline fork_worker(s)
{
	assert(slot[s] == FREE && backlog > 0);
	backlog--;
	forked++;
	told[s] = false;
	slot[s] = LIVE;
	if
	:: stays[s] = true
	:: stays[s] = false
	fi
}

inline reap_worker(s)
{
	assert(slot[s] == ZOMBIE);
	slot[s] = FREE;
	reaped++
}

inline start_listener()
{
	starting = next;
	listener_state[next] = STARTING;
	run listener(next);
	next++
}

/* Every worker: it ends when its peer leaves, or when it is told to. */
active proctype workers()
{
	byte s;
end:
	do
	:: atomic { slot[0] == LIVE && (!stays[0] || told[0]) -> slot[0] = ZOMBIE }
	:: atomic { slot[1] == LIVE && (!stays[1] || told[1]) -> slot[1] = ZOMBIE }
	:: atomic { slot[2] == LIVE && (!stays[2] || told[2]) -> slot[2] = ZOMBIE }
	:: atomic { slot[3] == LIVE && (!stays[3] || told[3]) -> slot[3] = ZOMBIE }
	:: atomic { slot[4] == LIVE && (!stays[4] || told[4]) -> slot[4] = ZOMBIE }
	:: atomic { slot[5] == LIVE && (!stays[5] || told[5]) -> slot[5] = ZOMBIE }
	od
}

active proctype clients()
{
	byte arrived;

	do
	:: atomic { arrived < CONNECTIONS -> arrived++; backlog++ }
	:: arrived == CONNECTIONS -> break
	od
}

proctype listener(byte g)
{
	byte a = g * SLOTS;
	byte b = g * SLOTS + 1;

	atomic { listener_state[g] = ACCEPTING; acceptors++ }
	report ! READY, g;
	do
	:: atomic { slot[a] == ZOMBIE -> reap_worker(a) }
#ifndef BROKEN_REAP	/* what drain_ends must find */
	:: atomic { slot[b] == ZOMBIE -> reap_worker(b) }
#endif
	/* at the limit, no free slot, the sockets are left alone */
	:: atomic { listener_state[g] == ACCEPTING && backlog > 0 && slot[a] == FREE -> fork_worker(a) }
	:: atomic { listener_state[g] == ACCEPTING && backlog > 0 && slot[b] == FREE -> fork_worker(b) }
	:: atomic { listener_state[g] == ACCEPTING && command[g] ? [STOP] ->
		command[g] ? STOP; acceptors--; listener_state[g] = STOPPING }
	:: atomic { listener_state[g] == STOPPING && slot[a] == FREE && slot[b] == FREE ->
		listener_state[g] = DEAD; break }
	/* SIGKILL or SIGSEGV between any two steps */
	:: atomic { crashes < CRASHES && listener_state[g] != STARTING ->
		crashes++;
		if
		:: listener_state[g] == ACCEPTING -> acceptors--
		:: else
		fi;
		orphaned[g] = true;
		listener_state[g] = DEAD;
		break }
	od
}

/* SIGCHLD of listener g: replace it unless another one accepts or is on its way. */
inline wait_for_listener(g)
{
	listener_state[g] = GONE;
	if
	:: terminating -> skip
	:: !terminating && waiting && g == starting && g != newest &&
	   listener_state[newest] == ACCEPTING -> waiting = false	/* the reload failed */
	:: !terminating && waiting && g != starting -> skip		/* its successor starts */
	:: !terminating && !waiting && g != newest -> skip		/* an old one drained */
	:: else -> start_listener(); waiting = true
	fi
}

active proctype supervisor()
{
	byte newest, starting, g;
	bool waiting = true;

	atomic { start_listener() }
	do
	:: atomic { report ? READY, g ->
		if
		:: g == starting && listener_state[g] != GONE ->
			serving = true;
			waiting = false;
			if
			:: newest != g && listener_state[newest] == ACCEPTING && !terminating ->
				command[newest] ! STOP
			:: else
			fi;
			newest = g;
			if
			:: terminating && listener_state[g] == ACCEPTING -> command[g] ! STOP
			:: else
			fi
		:: else
		fi }

	/* SIGHUP: the old generation goes on until the new one is READY */
	:: atomic { serving && !waiting && !terminating && next < GENERATIONS - (CRASHES - crashes) ->
#ifdef BROKEN_RELOAD	/* what never_deaf must find */
		command[newest] ! STOP;
#endif
		start_listener(); waiting = true }

	:: atomic { listener_state[0] == DEAD -> wait_for_listener(0) }
	:: atomic { listener_state[1] == DEAD -> wait_for_listener(1) }
	:: atomic { listener_state[2] == DEAD -> wait_for_listener(2) }

	/* SIGCHLD of an orphaned worker */
	:: atomic { orphaned[0] && slot[0] == ZOMBIE -> reap_worker(0) }
	:: atomic { orphaned[0] && slot[1] == ZOMBIE -> reap_worker(1) }
	:: atomic { orphaned[1] && slot[2] == ZOMBIE -> reap_worker(2) }
	:: atomic { orphaned[1] && slot[3] == ZOMBIE -> reap_worker(3) }
	:: atomic { orphaned[2] && slot[4] == ZOMBIE -> reap_worker(4) }
	:: atomic { orphaned[2] && slot[5] == ZOMBIE -> reap_worker(5) }

	/* SIGTERM: all that accept are told to stop; one that starts is told at its READY */
	:: atomic { serving && !terminating ->
		terminating = true;
		if
		:: listener_state[newest] == ACCEPTING && !(waiting && starting == newest) ->
			command[newest] ! STOP
		:: else
		fi }

	/* the drain time is over: who is left is told to end, again and again */
	:: atomic { terminating && slot[0] == LIVE && !told[0] -> told[0] = true }
	:: atomic { terminating && slot[1] == LIVE && !told[1] -> told[1] = true }
	:: atomic { terminating && slot[2] == LIVE && !told[2] -> told[2] = true }
	:: atomic { terminating && slot[3] == LIVE && !told[3] -> told[3] = true }
	:: atomic { terminating && slot[4] == LIVE && !told[4] -> told[4] = true }
	:: atomic { terminating && slot[5] == LIVE && !told[5] -> told[5] = true }

	:: atomic { terminating &&
	   (listener_state[0] == UNBORN || listener_state[0] == GONE) &&
	   (listener_state[1] == UNBORN || listener_state[1] == GONE) &&
	   (listener_state[2] == UNBORN || listener_state[2] == GONE) &&
	   slot[0] == FREE && slot[1] == FREE && slot[2] == FREE &&
	   slot[3] == FREE && slot[4] == FREE && slot[5] == FREE -> break }
	od;
	atomic {
		assert(forked == reaped);
		assert(acceptors == 0);
		stopped = true
	}
}

ltl never_deaf { [] ((serving && !terminating && crashes == 0) -> acceptors > 0) }
ltl drain_ends { [] (terminating -> <> stopped) }
