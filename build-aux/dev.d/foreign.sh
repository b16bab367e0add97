# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Other processors: cross-built in a tree of this one, and tested where that processor is emulated
# with a kernel of its own, for system call filters and subreapers are not to be had otherwise.

# What a guest is: its suite (- is that of this machine), the kernel's package, the console's name
# there, and the emulator with its machine.
declare -A GUESTS=(
	[arm64]="- linux-image-arm64 ttyAMA0 qemu-system-aarch64 -machine virt -cpu cortex-a57"
	[armhf]="- linux-image-armmp ttyAMA0 qemu-system-arm -machine virt"
	[ppc64el]="- linux-image-powerpc64le hvc0 qemu-system-ppc64 -machine pseries"
	[riscv64]="trixie linux-image-riscv64 ttyS0 qemu-system-riscv64 -machine virt"
	[s390x]="- linux-image-s390x ttysclp0 qemu-system-s390x -machine s390-ccw-virtio"
)
# after the unit tests
GUEST_TESTS=(tests/run/test_sandbox.py tests/run/test_hostile_worker.py)
GUEST_LIMIT_S=1200

# suite_of ARCHITECTURE: the Debian that is built and run there.
suite_of()
{
	local suite=${GUESTS[$1]%% *}
	[ "$suite" != - ] || suite=$(own_archive RELEASE)
	say "$suite"
}

# triplet_of ARCHITECTURE TREE: what configure and the compiler's package call it.
triplet_of()
{
	enter "$2" dpkg-architecture -f -a"$1" -qDEB_HOST_GNU_TYPE 2>/dev/null
}

# make_cross_tree ARCHITECTURE: a tree of this machine's architecture in which this checkout can be
# built for the other; prints its path.
make_cross_tree()
{
	local tree suite install=(apt-get -qq -y --no-install-recommends)
	suite=$(suite_of "$1") || return
	tree=$(make_tree "cross-$1" "$suite" --variant=minbase --include=git \
		--architectures="$(dpkg --print-architecture),$1") || return
	copy_checkout "$tree" >&2 || return
	{
		in_copy "$tree" ./dev deps build deb &&
			in_copy "$tree" "${install[@]}" install "gcc-$(triplet_of "$1" "$tree")" &&
			in_copy "$tree" "${install[@]}" -a "$1" build-dep ./
	} >&2 || return
	say "$tree"
}

# make_guest_tree ARCHITECTURE: what a guest has on its disk, and its kernel; prints the path.
# Nothing of that architecture runs while it is made.
make_guest_tree()
{
	local suite kernel package include=base-files,busybox-static,python3 excluded=() path
	suite=$(suite_of "$1") || return
	read -r _ kernel _ <<<"${GUESTS[$1]}"
	for package in ${PACKAGES[build]}; do
		[[ $package != lib*-dev ]] || include+=,$package
	done
	for path in '/*lib/modules/*' '/usr/lib/linux-image-*' '/usr/lib/*/gconv/*' \
		'/usr/include/*' '/*.a' '/usr/share/*'; do
		excluded+=(--dpkgopt="path-exclude=$path")
	done
	make_tree "guest-$1" "$suite" --variant=extract --architectures="$1" "${excluded[@]}" \
		--include="$include,$kernel"
}

# fill_guest CROSS GUEST TEST...: the build and its tests, those or all that are for guests.
fill_guest()
{
	local cross=$1$ELSEWHERE_COPY guest=$2 copy=$2$ELSEWHERE_COPY tests=("${@:3}")
	rm -rf "$copy"
	mkdir -p "$copy"
	tar -C "$cross" -c --exclude=.git --exclude=build/deb --exclude=build/variant \
		--exclude=autom4te.cache --exclude='*.[oa]' . | tar -C "$copy" -x
	if [ ${#tests[@]} -eq 0 ]; then
		mapfile -t tests < <(find "$copy/build/tests/unit" -name 'test_*' -type f \
			-executable -printf 'tests/unit/%P\n' | sort)
		tests+=("${GUEST_TESTS[@]}")
	fi
	printf '%s\n' "${tests[@]}" >"$copy/guest-tests"
	cp "$copy/tests/system/guest" "$guest/init"
	(cd "$guest" && find . -path ./boot -prune -o -print0 |
		cpio --quiet -0 -o -H newc) >"$guest.cpio"
}

# run_guest ARCHITECTURE TREE: boots it; fails unless all tests ended well.
run_guest()
{
	local console emulator kernel
	read -r _ _ console emulator <<<"${GUESTS[$1]}"
	kernel=$(compgen -G "$2/boot/vmlinu?-*") || return
	# shellcheck disable=SC2086 # a command with its options
	timeout "$GUEST_LIMIT_S" $emulator -m 768 -nographic -vga none -nic none -no-reboot \
		-kernel "$kernel" -initrd "$2.cpio" \
		-append "console=$console quiet panic=-1" </dev/null |
		tr -d '\r' | tee "$2.log"
	grep -qx 'guest: all tests ended well' "$2.log"
}

# foreign_check ARCHITECTURE [TEST...]: built there, run in the guest.
foreign_check()
{
	local architecture=$1 cross guest triplet
	shift
	cross=$(make_cross_tree "$architecture")
	guest=$(make_guest_tree "$architecture")
	triplet=$(triplet_of "$architecture" "$cross")
	in_copy "$cross" ./dev build --host="$triplet" --enable-werror CFLAGS=-O2
	in_copy "$cross" make -s -C build -j"$(nproc)" check TESTS= >/dev/null
	fill_guest "$cross" "$guest" "$@"
	summarize_tap run_guest "$architecture" "$guest"
}

# foreign_packages ARCHITECTURE: cross-built Debian packages.
foreign_packages()
{
	local cross
	cross=$(make_cross_tree "$1")
	in_copy "$cross" ./dev deb -B "-a$1"
}
