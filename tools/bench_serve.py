"""Measures the HTTP interface: requests a second and their 95th percentile at 1, 4 and 16 clients.

    python -m tools.bench_serve --seconds 30 30 300 300 --json docs/measurements/serve.json

A service of its own is started on this machine, with the default model. Each client sends one of some photos
of 640 pixels, waits for the answer, and sends the next; the clients run in this process and take some of the
same processor. ``--clients`` beyond the service's queue shows what it refuses. The machine's load before each
measurement stands beside it: on a machine that does something else, too, the figures are lower.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tools import bench_folder
from tools.records import write_record

WIDTH = 640
PHOTOS = 16


def measure(port: int, photos: list[bytes], clients: int, seconds: float, pid: int) -> dict[str, Any]:
    """Has so many clients ask for so long."""
    times: list[float] = []
    statuses: Counter[str] = Counter()
    end = time.monotonic() + seconds
    load = os.getloadavg()[0]
    memory = resident_mb(pid)

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        turn = number
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                connection.request("POST", "/v1/predict", photos[turn % len(photos)])
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                statuses[type(error).__name__] += 1
                connection.close()
                continue
            statuses[str(response.status)] += 1
            if response.status == 200:
                times.append(time.perf_counter() - began)
            else:
                connection.close()  # the service would not keep an idle one for so long
                time.sleep(min(float(response.headers.get("Retry-After", 1)), max(0, end - time.monotonic())))
            turn += 1
        connection.close()

    cpu = processor_seconds(pid)
    began = time.monotonic()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - began
    used = processor_seconds(pid) - cpu
    return {
        "clients": clients,
        "seconds": round(wall, 1),
        "statuses": dict(sorted(statuses.items())),
        "requests_a_second": round(statuses["200"] / wall, 2),
        "ms": {
            name: round(1000 * float(np.quantile(times, q)), 1) for name, q in (("p50", 0.5), ("p95", 0.95))
        },
        "service_cpu_ms_a_request": round(1000 * used / max(statuses["200"], 1), 1),
        "service_memory_mb": {"before": memory, "after": resident_mb(pid)},
        "load_before": round(load, 1),
    }


def resident_mb(pid: int) -> float:
    """Memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Starts a service, measures, writes."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_serve", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, nargs="+", default=[30], help="for all, or for each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seconds = options.seconds * (len(options.clients) if len(options.seconds) == 1 else 1)
    if len(seconds) != len(options.clients):
        parser.error("--seconds needs one figure, or one for each of --clients")
    bench_folder.WIDTH = WIDTH
    with tempfile.TemporaryDirectory() as folder:
        photos = [path.read_bytes() for path in bench_folder.make_photos(PHOTOS, Path(folder))]
    command = [sys.executable, "-m", "agegender", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr is not None
            line = service.stderr.readline()
            found = re.search(r":(\d+) with", line)
            if found is None:
                raise SystemExit(line)
            port = int(found[1])
            measure(port, photos, 4, 2, service.pid)  # networks are prepared for the threads there are
            results = [
                measure(port, photos, *one, service.pid) for one in zip(options.clients, seconds, strict=True)
            ]
        finally:
            service.send_signal(signal.SIGTERM)
            service.communicate()  # what it says at its end needs somebody to say it to
    report = {
        "photo_width": WIDTH,
        "exit_code": service.returncode,
        "results": results,
    }
    write_record(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
