# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Other distributions and architectures: the tree of a Debian made by mmdebstrap, a copy of this
# checkout in it, and a build and its tests there. Trees are kept in the cache and used again; their
# packages come from the archive that apt is set up with here.

ELSEWHERE_CACHE=${XDG_CACHE_HOME:-/var/cache}/echod-dev
# where every user can come: tests are another than root
ELSEWHERE_COPY=/srv/echod

# own_archive RELEASE|REPO_URI: the suite of this machine, or where apt has it from.
own_archive()
{
	local lines
	lines=$(apt-get indextargets --format "\$($1)" "Created-By: Packages" "Label: Debian")
	[ -n "$lines" ] || die "apt knows no Debian archive here (apt-get update)"
	say "${lines%%$'\n'*}"
}

# make_tree NAME SUITE MMDEBSTRAP-ARGUMENT...: prints the path of that tree, made if need be.
make_tree()
{
	local tree=$ELSEWHERE_CACHE/$1 suite=$2 archive
	shift 2
	if [ ! -e "$tree/.complete" ]; then
		archive=$(own_archive REPO_URI)
		rm -rf --one-file-system "$tree"
		mkdir -p "$ELSEWHERE_CACHE"
		# a mirror that stands still is as good for a test
		mmdebstrap --quiet --aptopt="Acquire::Check-Valid-Until \"false\"" \
			"$@" "$suite" "$tree" "$archive" >&2 || return
		: >"$tree/.complete"
	fi
	say "$tree"
}

# enter_here TREE COMMAND...: makes the tree the root of this mount namespace, so that other
# namespaces can be made within, as they cannot in a chroot, and runs the command.
enter_here()
{
	local tree=$1
	shift
	mount --bind "$tree" "$tree"
	cd "$tree" || return
	mount -t proc proc proc
	mount --rbind /sys sys
	mount --rbind /dev dev
	mount -t tmpfs -o mode=755 tmpfs run
	cp -L /etc/resolv.conf /etc/hosts etc
	pivot_root . mnt
	umount -l mnt
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb \
		DEBIAN_FRONTEND=noninteractive ECHOD_MUST_RUN="${ECHOD_MUST_RUN-}" \
		setarch "linux$(getconf LONG_BIT)" nice -n 10 "$@"
}

# enter TREE COMMAND...: runs it as root there, among processes of its own.
enter()
{
	export -f enter_here
	unshare --mount --pid --fork --kill-child --propagation private \
		bash -euc "enter_here \"\$@\"; exit" enter "$@"
}

# copy_checkout TREE: this checkout with its changes, those of new files when they are added to
# git. What is as it was keeps its time, so that the build there goes on where it stopped.
copy_checkout()
{
	local copy=$1$ELSEWHERE_COPY commit
	[ -d .git ] || die "elsewhere: needs a checkout"
	commit=$(git stash create)
	[ -d "$copy/.git" ] || git init -q "$copy"
	git push -q -f --tags "$copy" "${commit:-HEAD}:refs/heads/elsewhere"
	git -C "$copy" checkout -q -f --detach elsewhere
}

# in_copy TREE COMMAND...: runs ./dev or another command in the copy.
in_copy()
{
	enter "$1" env -C "$ELSEWHERE_COPY" "${@:2}"
}

# elsewhere_build TARGET SUITE ARCHITECTURE STEP...: these steps of ./dev in that tree; without any,
# all that a developer does.
elsewhere_build()
{
	local target=$1 tree step
	install_packages system
	tree=$(make_tree "$target" "$2" --variant=minbase --include=git --architectures="$3")
	shift 3
	[ $# -gt 0 ] || set -- check lint system "deb --reproducible --system"
	copy_checkout "$tree"
	for step in "$@"; do
		# shellcheck disable=SC2086 # a command with its options
		lint_step "$target: ./dev $step" in_copy "$tree" ./dev $step
	done
	print_summary "$LINT_PASSED" "$LINT_FAILED" 0
}

command_elsewhere()
{
	local target=${1:-none}
	[ "$(id -u)" -eq 0 ] || die "elsewhere: needs root (it makes trees and enters them)"
	[ $# -eq 0 ] || shift
	case $target in
	bookworm | trixie | sid)
		elsewhere_build "$target" "$target" "$(dpkg --print-architecture)" "$@"
		;;
	i386) elsewhere_build "$target" "$(own_archive RELEASE)" i386 "$@" ;;
	*)
		[ -n "${GUESTS[${target#cross-}]:-}" ] ||
			die "elsewhere: the targets are bookworm, trixie, sid, i386 and" \
				"[cross-]ARCH of: ${!GUESTS[*]}"
		install_packages foreign
		case $target in
		cross-*) foreign_packages "${target#cross-}" ;;
		*) foreign_check "$target" "$@" ;;
		esac
		;;
	esac
}
