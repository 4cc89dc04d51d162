# SPDX-License-Identifier: GPL-2.0-only
"""Makes a small Debian archive on the spot: packages of the root that this runs in, packed again, and
made-up ones; and serves it."""

import functools
import http.server
import re
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Package = tuple[str, str]


def output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


ARCH = output("dpkg", "--print-architecture").strip()


def closure(roots: list[str]) -> list[str]:
    """The essential packages of this root, these, and all that they depend on, with their architectures."""
    fields = "${Architecture}\t${Package}\t${Essential}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
    needs: dict[str, list[str]] = {}
    provided: dict[str, str] = {}
    full_name: dict[str, str] = {}
    wanted = list(roots)
    for line in output("dpkg-query", "-W", "-f", fields).splitlines():
        arch, name, essential, provides, depends = line.split("\t")
        if arch not in (ARCH, "all"):
            continue
        full_name[name] = name if arch == "all" else f"{name}:{arch}"
        needs[name] = depends.split(",")
        provided[name] = name
        for virtual in re.findall(r"([a-z0-9.+-]+)(?: \([^)]*\))?(?:,|$)", provides):
            provided.setdefault(virtual, name)
        if essential == "yes":
            wanted.append(name)
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        for alternatives in needs[name]:
            words = [re.split(r"[\s:(]", one.strip())[0] for one in alternatives.split("|")]
            wanted += [provided[word] for word in words if word in provided][:1]
    return sorted(full_name[name] for name in found)


class Archive:
    """An archive of the suites trixie and trixie-backports, below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = folder / "pool"
        self._pool.mkdir(parents=True)
        self._work = folder / "work"

    def pack_again(self, names: list[str]) -> None:
        """Puts installed packages into the suite trixie."""
        where = self._pool / "trixie"
        where.mkdir()

        def pack(name: str) -> None:
            command = ["dpkg-repack", "--deb-option=-Znone", name]
            done = subprocess.run(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                raise RuntimeError(f"dpkg-repack {name}: {done.stdout}")

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(pack, names))

    def make(self, suite: str, *packages: Package) -> None:
        """Has exactly these made-up packages in a suite, beside what was packed again."""
        where = self._pool / suite / "made-up"
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        for name, version in packages:
            tree = self._work / name
            (tree / "DEBIAN").mkdir(parents=True)
            (tree / "usr/share" / name).mkdir(parents=True)
            (tree / "usr/share" / name / "version").write_text(version)
            control = f"Package: {name}\nVersion: {version}\nArchitecture: {ARCH}\nMaintainer: none <none@invalid>\n"
            (tree / "DEBIAN/control").write_text(f"{control}Description: made up\n")
            output("dpkg-deb", "-Znone", "--build", "--root-owner-group", str(tree), str(where))
            shutil.rmtree(tree)
        self._write_index(suite)

    def _write_index(self, suite: str) -> None:
        dist = self.folder / "dists" / suite
        shutil.rmtree(dist, ignore_errors=True)
        binary = dist / f"main/binary-{ARCH}"
        binary.mkdir(parents=True)
        listed = subprocess.run(["apt-ftparchive", "packages", f"pool/{suite}"], cwd=self.folder, check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        (binary / "Packages").write_text(listed)
        settings = {"Suite": suite, "Codename": suite, "Components": "main", "Architectures": ARCH}
        options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in settings.items()]
        release = output("apt-ftparchive", *options, "release", str(dist))
        (dist / "Release").write_text(release)

    def keep_snapshot(self, day: str) -> None:
        """Keeps backports as they are now as the snapshot of that day."""
        where = self.folder / f"snapshot/{day}T000000Z"
        shutil.copytree(self.folder / "dists/trixie-backports", where / "dists/trixie-backports")
        shutil.copytree(self._pool / "trixie-backports", where / "pool/trixie-backports")
        release = where / "dists/trixie-backports/Release"
        date = "Thu, 01 Jan 2026 00:00:00 UTC"
        dated = re.sub("^Date: .*$", f"Date: {date}\nValid-Until: {date}", release.read_text(), flags=re.M)
        release.write_text(dated)


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder on the machine's loopback. `refuse` more requests get an error first."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.refuse = 0
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if server.refuse:
                    server.refuse -= 1
                    self.send_error(503, "Out of Order")
                else:
                    super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()
