#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is shipped for AppArmor, ufw and firewalld is what these programs read."""
import configparser
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree

TOP = os.environ.get("ABS_SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../.."))
PORT = "7"


def path(name):
    return os.path.join(TOP, "etc", name)


def check_firewalld():
    """firewalld: a service of one port, TCP and UDP"""
    root = xml.etree.ElementTree.parse(path("firewalld/echod.xml")).getroot()
    assert root.tag == "service" and {child.tag for child in root} == {
        "short", "description", "port"}
    assert [port.attrib for port in root.findall("port")] == [
        {"protocol": protocol, "port": PORT} for protocol in ("tcp", "udp")]
    assert root.findtext("short") and root.findtext("description")


def check_ufw():
    """ufw: a profile of one port, TCP and UDP"""
    profiles = configparser.RawConfigParser()
    with open(path("ufw/echod"), encoding="utf-8") as file:
        profiles.read_file(file)
    assert profiles.sections() == ["echod"]
    assert set(profiles["echod"]) == {"title", "description", "ports"}
    assert profiles["echod"]["ports"] == PORT       # of both protocols


def check_apparmor():
    """AppArmor: a profile that its parser takes, with the sockets that echod has"""
    parser = shutil.which("apparmor_parser", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if parser is None:
        assert os.environ.get("ECHOD_MUST_RUN") != "1", "apparmor_parser is not installed"
        return "# SKIP apparmor_parser is not installed"
    profile = path("apparmor/usr.sbin.echod")
    names = subprocess.run([parser, "-N", profile], capture_output=True, text=True, check=True)
    assert names.stdout == "echod\n", names
    subprocess.run([parser, "-Q", "-K", profile], check=True)
    with open(profile, encoding="utf-8") as file:
        networks = {line.strip() for line in file if line.startswith("  network ")}
    assert networks == {"network unix,", *(f"network {family} {kind}," for kind in (
        "stream", "dgram") for family in ("inet", "inet6"))}, networks
    return ""


def main():
    checks = [check_firewalld, check_ufw, check_apparmor]
    print(f"1..{len(checks)}")
    failed = 0
    for number, check in enumerate(checks, 1):
        try:
            print(f"ok {number} - {check.__doc__} {check() or ''}".rstrip(), flush=True)
        except (AssertionError, OSError, ValueError, SyntaxError, configparser.Error,
                subprocess.CalledProcessError) as error:
            failed += 1
            print(f"# {error}\nnot ok {number} - {check.__doc__}", flush=True)
    sys.exit(1 if failed else 0)


main()
