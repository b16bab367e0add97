# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The daemon in the foreground, with proof that it echoes.

ECHOD_PID=

stop_echod()
{
	[ -n "$ECHOD_PID" ] || return 0
	kill -TERM "$ECHOD_PID" 2>/dev/null || true
	local status=0
	wait "$ECHOD_PID" || status=$?
	ECHOD_PID=
	return "$status"
}

# Sends one line and compares what comes back.
echo_once()
{
	local line="hello from echoctl" answer
	answer=$(printf '%s\n' "$line" | "$BUILD/echoctl" send "$1") || return
	[ "$answer" = "$line" ] || return
	say "$1 echoes: $answer"
}

command_run()
{
	local once=no attempt
	while [ $# -gt 0 ]; do
		case $1 in
		--once) once=yes ;;
		--port)
			[[ ${2-} =~ ^[0-9]+$ ]] || die "run: --port needs a number"
			PORT=$2
			shift
			;;
		*) die "run: unknown option: $1" ;;
		esac
		shift
	done
	install_packages build
	build_tree "$BUILD"

	local address=127.0.0.1:$PORT
	if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
		die "$address is taken by another program; ./dev run --port N uses another"
	fi
	ECHOD_LISTENER=$PWD/$BUILD/echod-listener \
		"$BUILD/echod" -c etc/echod.conf -l "$address" &
	ECHOD_PID=$!
	trap 'stop_echod; exit 0' INT TERM
	trap stop_echod EXIT

	for ((attempt = 0; attempt < 100; attempt++)); do
		kill -0 "$ECHOD_PID" 2>/dev/null || die "echod has ended (its last lines say why)"
		if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
			break
		fi
		sleep 0.1
	done
	echo_once "$address" || die "no echo from $address"
	kill -0 "$ECHOD_PID" 2>/dev/null || die "echod has ended (its last lines say why)"
	if [ "$once" = yes ]; then
		trap - EXIT
		stop_echod || die "echod did not stop cleanly"
		return
	fi
	say "try it:  printf 'hi\\n' | $BUILD/echoctl send $address      (Ctrl-C ends echod)"
	wait "$ECHOD_PID"
}
