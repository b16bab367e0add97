# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Packages and releases.

command_deb()
{
	install_packages build deb
	[ -f debian/control ] || die "deb: this tree has no debian/"
	run_part debian/build deb "$BUILD/deb" "$@"
}

command_release()
{
	local version news
	install_packages build test
	version=$(build-aux/version)
	news=$(sed -n 's/^echod \([0-9][^ ]*\).*/\1/p' NEWS | head -n 1)
	[ -z "$(git status --porcelain)" ] || die "release: there are uncommitted changes"
	[ "$version" = "$news" ] || die "release: git says $version, NEWS says $news"
	build_tree "$BUILD"
	make -C "$BUILD" -s -j"$(nproc)" distcheck
	say "release $version: ready, $BUILD/echod-$version.tar.xz"
}
