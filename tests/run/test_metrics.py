#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Metrics as their real readers read them: OpenMetrics, the node exporter, Prometheus, Grafana."""
import json
import os
import re
import shutil
import subprocess
import urllib.request

from harness import (DEADLINE_S, SRCDIR, Echod, Process, Skip, case, exchange, foreign,
                     free_port, main, read_exactly, run_echoctl, temporary_directory, wait_until)

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None
RULES, DASHBOARD = SRCDIR + "/etc/prometheus/echod.rules.yml", SRCDIR + "/etc/grafana/echod.json"

COUNTERS = {"connections_accepted", "connections_closed", "connections_refused",
            "connections_empty", "received_bytes", "sent_bytes", "starved", "events_dropped",
            "log_lines_suppressed", "log_lines_lost", "listener_restarts",
            "datagram_restarts",
            *("datagrams_" + name for name in ("received", "sent", "dropped", "received_bytes",
                                               "sent_bytes", "unmerged", "kernel_dropped"))}
GAUGES = {"connections_live", "connections_waiting", "connections_max",
          "live_received_bytes", "live_sent_bytes", "generations", "generation",
          "start_time_seconds", "build_info"}
HISTOGRAMS = {"connection_duration_seconds", "fork_duration_seconds"}


def parse(text):
    """(family name, type), and {(sample name, labels): value} of a page."""
    if not text_string_to_metric_families:
        raise Skip("python3-prometheus-client is not installed")
    families = list(text_string_to_metric_families(text))
    samples = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
               for family in families for sample in family.samples}
    assert all(family.documentation.endswith((".", ")."))for family in families)
    return {(family.name, family.type) for family in families}, samples


def page(echod):
    result = run_echoctl("--control", echod.folder + "/control", "metrics")
    assert result.returncode == 0, result
    return result.stdout.decode()


@case("the OpenMetrics parser takes every family, and they add up")
def test_parser():
    with Echod({"limits": {"connections": 3, "connections-per-source": 2}}) as echod:
        assert exchange(echod.connect(), b"x" * 1000) == b"x" * 1000
        echod.closed_connections(1)     # its source counts it no longer
        with echod.connect() as first, echod.connect() as second:
            for sock in (first, second):
                sock.sendall(b"held")
                assert read_exactly(sock, 4) == b"held"
            with echod.connect() as third:
                assert third.recv(1) == b""
            echod.wait_log("refused peer")
            wait_until(lambda: parse(page(echod))[1]["echod_live_sent_bytes", ()] == 8,
                       "it has looked at the live ones")
            families, samples = parse(page(echod))
        assert families == ({("echod_" + name, "counter") for name in COUNTERS}
                            | {("echod_" + name, "gauge") for name in GAUGES}
                            | {("echod_" + name, "histogram") for name in HISTOGRAMS}), families

        def value(name, **labels):
            return samples["echod_" + name, tuple(labels.items())]
        assert value("connections_accepted_total") == 4
        assert value("connections_closed_total", end="fin") == 1
        assert value("connections_refused_total", reason="connections-per-source") == 1
        reasons = {dict(labels)["reason"] for name, labels in samples
                   if name == "echod_connections_refused_total"}
        assert reasons == {"connections", "connections-per-source", "rate-per-source", "access",
                           "proxy"}
        assert value("connections_live") == 2 and value("connections_max") == 3
        assert value("received_bytes_total") == 1000 == value("sent_bytes_total")
        assert value("live_received_bytes") == 8 == value("live_sent_bytes")
        assert value("generation") == 1 == value("generations")
        assert value("fork_duration_seconds_count") >= 3
        for name in HISTOGRAMS:
            counts = [count for (sample, _), count in samples.items()
                      if sample == f"echod_{name}_bucket"]
            assert counts == sorted(counts) and counts[-1] == value(name + "_count"), name
            bounds = [float(dict(labels)["le"]) for sample, labels in samples
                      if sample == f"echod_{name}_bucket"][:-1]
            assert bounds == [bounds[0] * 2 ** i for i in range(len(bounds))], bounds


@case("the file is whole at any time, readable for others, and follows the daemon")
def test_file():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        path = folder + "/echod.prom"
        with Echod({"metrics": {"file": path}}) as echod:
            wait_until(lambda: os.path.exists(path), "the file is there")
            assert os.stat(path).st_mode & 0o777 == 0o644
            with open(path, encoding="utf-8") as file:
                text = file.read()
            assert "\nechod_connections_live 0\n" in text and text.endswith("# EOF\n"), text
            # but for the moment in which it is written anew
            wait_until(lambda: os.listdir(folder) == ["echod.prom"], "nothing else is left")
            # Elsewhere it cannot be written: said once for each, nothing else happens.
            for name in ("first", "second"):
                mark = echod.reload({"metrics": {"file": f"/nonexistent/{name}.prom"}})
                echod.wait_log("new settings are in force", since=mark)
                assert exchange(echod.connect(), b"x") == b"x"
                echod.wait_log(f"metrics.file: /nonexistent/{name}.prom", since=mark)


@case("a file that is written no more is not left as if it were of today")
def test_file_left():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        with Echod({"metrics": {"file": folder + "/a.prom"}}) as echod:
            wait_until(lambda: os.listdir(folder) == ["a.prom"], "the file is there")
            echod.reload({"metrics": {"file": folder + "/b.prom"}})
            wait_until(lambda: os.listdir(folder) == ["b.prom"], "the other one alone is there")
            echod.stop()
            assert os.listdir(folder) == []


@case("the real node exporter serves the file")
def test_node_exporter():
    exporter = foreign("prometheus-node-exporter")
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        path = folder + "/echod.prom"
        port = free_port()
        with Echod({"metrics": {"file": path}}):
            wait_until(lambda: os.path.exists(path), "the file is there")
            scraper = Process("node exporter", [
                exporter, "--collector.disable-defaults", "--collector.textfile",
                f"--collector.textfile.directory={folder}",
                f"--web.listen-address=127.0.0.1:{port}"])
            scraper.wait_log("(?i)listening on")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics",
                                        timeout=DEADLINE_S) as answer:
                text = answer.read().decode()
            scraper.kill()
    lines = text.splitlines()
    assert "node_textfile_scrape_error 0" in lines, text
    assert "echod_connections_live 0" in lines, text
    assert 'echod_connections_closed_total{end="fin"} 0' in lines, text
    types = dict(re.findall(r"^# TYPE echod_(\w+) (\w+)$", text, re.MULTILINE))
    assert types == {**{name + "_total": "counter" for name in COUNTERS},
                     **dict.fromkeys(GAUGES, "gauge"),
                     **dict.fromkeys(HISTOGRAMS, "histogram")}, types


def promtool(*arguments, **options):
    """Runs Prometheus' own checker: its words when it is content, else a failure."""
    result = subprocess.run([foreign("promtool"), *arguments], capture_output=True, text=True,
                            timeout=DEADLINE_S, check=False, **options)
    assert result.returncode == 0, result
    return result.stdout + result.stderr


@case("promtool finds nothing to complain about in the file")
def test_promtool():
    foreign("promtool")
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        path = folder + "/echod.prom"
        with Echod({"metrics": {"file": path}}):
            wait_until(lambda: os.path.exists(path), "the file is there")
            with open(path, encoding="utf-8") as file:
                text = file.read()
    assert promtool("check", "metrics", input=text) == ""


@case("the alert rules say what they are to say")
def test_rules():
    with temporary_directory() as folder:
        shutil.copy(RULES, folder)
        test = shutil.copy(SRCDIR + "/tests/run/echod.rules.test.yml", folder)
        promtool("check", "rules", folder + "/echod.rules.yml")
        promtool("test", "rules", test)


def queries():
    """Every query of the dashboard, and of the rules."""
    with open(DASHBOARD, encoding="utf-8") as file:
        dashboard = json.load(file)
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += [variable["query"] for variable in dashboard["templating"]["list"]]
    with open(RULES, encoding="utf-8") as file:
        return found, re.sub(r"#.*", "", file.read())


@case("dashboard and rules ask for metrics and labels that there are, in sound queries")
def test_queries():
    with Echod() as echod:
        _, samples = parse(page(echod))
    names = {name for name, _ in samples}
    values = {(label, value) for _, labels in samples for label, value in labels}
    found, rules = queries()
    asked = set(re.findall(r"echod_\w+", " ".join(found) + rules))
    assert asked <= names, asked - names
    assert {name for name in names if "bucket" in name} <= asked, "a histogram has no panel"
    unseen = COUNTERS - set(re.findall(r"echod_(\w+)_total", " ".join(found)))
    assert not unseen, ("counters without a panel", unseen)
    for label, value in re.findall(r'(\w+)!?="(\w+)"', " ".join(found) + rules):
        assert (label, value) in values, (label, value)
    with temporary_directory() as folder:
        path = folder + "/queries.yml"
        exprs = [query.replace("$__rate_interval", "5m") for query in found if "(" in query
                 and not query.startswith("label_values")]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"groups": [{"name": "queries", "rules": [
                {"record": f"query:{number}", "expr": expr}
                for number, expr in enumerate(exprs)]}]}, file)
        promtool("check", "rules", path)


main()
