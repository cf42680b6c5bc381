"""The schema: however a file came to the newest version, it is the same."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import NotAvailable
from rtoc_twisted.storage.schema import UPGRADES, upgrade

STEPS = (
    "CREATE TABLE first (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO first (name) VALUES ('kept')",
    "ALTER TABLE first ADD COLUMN unit TEXT",
    "CREATE TABLE second AS SELECT name FROM first; CREATE INDEX names ON second (name)",
)


class SchemaTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.made = 0

    def open(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        return connection

    def at_version(self, steps: tuple[str, ...]) -> tuple[sqlite3.Connection, Path]:
        """Return a database that has taken these steps, and where it is."""
        self.made += 1
        path = self.directory / f"{self.made}.sqlite"
        connection = self.open(path)
        upgrade(connection, path, steps)
        return connection, path

    def dump(self, connection: sqlite3.Connection) -> list[str]:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return [*connection.iterdump(), f"version {version}"]

    def check_every_way(self, steps: tuple[str, ...]) -> None:
        fresh = self.dump(self.at_version(steps)[0])
        self.assertEqual(fresh[-1], f"version {len(steps)}")
        for version in range(1, len(steps) + 1):
            connection, path = self.at_version(steps[:version])
            upgrade(connection, path, steps)
            self.assertEqual(self.dump(connection), fresh)

    def test_from_every_version_of_ours(self) -> None:
        self.check_every_way(tuple(UPGRADES))

    def test_what_was_recorded_stays(self) -> None:
        for version in range(1, len(UPGRADES)):
            connection, path = self.at_version(tuple(UPGRADES[:version]))
            connection.execute("INSERT INTO events VALUES (7, 1, 'text', 1.5, 2, 'act', 'null')")
            before = connection.execute("SELECT * FROM events").fetchall()
            upgrade(connection, path)
            self.assertEqual(connection.execute("SELECT * FROM events").fetchall(), before)
            self.assertEqual(connection.execute("SELECT * FROM notes").fetchall(), [])
            # From then on its events have notes, which go with them.
            connection.execute("INSERT INTO notes VALUES (7, NULL, '{}')")
            connection.execute("DELETE FROM events")
            self.assertEqual(connection.execute("SELECT * FROM notes").fetchall(), [])

    def test_from_every_version_of_several(self) -> None:
        self.check_every_way(STEPS)

    def test_the_newest_is_left_alone(self) -> None:
        connection, path = self.at_version(STEPS)
        before = connection.total_changes, self.dump(connection)
        upgrade(connection, path, STEPS)
        self.assertEqual((connection.total_changes, self.dump(connection)), before)
        self.assertEqual([file.name for file in self.directory.glob("*.v*")], [])

    def test_a_copy_is_kept(self) -> None:
        connection, path = self.at_version(STEPS[:1])
        before = self.dump(connection)
        upgrade(connection, path, STEPS)
        copy = path.with_name(f"{path.name}.v1")
        self.assertEqual(self.dump(self.open(copy)), before)
        self.assertEqual(stat.S_IMODE(copy.stat().st_mode), 0o600)

    def test_a_copy_lets_go_of_no_lock(self) -> None:
        connection, path = self.at_version(STEPS[:1])
        upgrade(connection, path, STEPS)
        # Whoever could take the whole file would also take away the log beside it.
        code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM first').fetchall()"
        subprocess.run([sys.executable, "-c", code, path], check=True)
        self.assertTrue(path.with_name(f"{path.name}-wal").exists())

    def test_an_upgrade_that_breaks_leaves_the_version_before(self) -> None:
        connection, path = self.at_version(STEPS[:1])
        before = self.dump(connection)
        broken = (STEPS[0], f"{STEPS[1]}; INSERT INTO nowhere VALUES (1)")
        self.assertRaises(sqlite3.OperationalError, upgrade, connection, path, broken)
        connection.close()
        again = self.open(path)
        self.assertEqual(self.dump(again), before)
        upgrade(again, path, STEPS)
        self.assertEqual(self.dump(again), self.dump(self.at_version(STEPS)[0]))

    def test_an_upgrade_that_breaks_late_keeps_the_steps_before(self) -> None:
        connection, path = self.at_version(STEPS[:1])
        self.assertRaises(
            sqlite3.OperationalError,
            upgrade,
            connection,
            path,
            (*STEPS[:2], "INSERT INTO nowhere VALUES (1)"),
        )
        connection.close()
        self.assertEqual(self.dump(self.open(path)), self.dump(self.at_version(STEPS[:2])[0]))

    def test_a_copy_that_was_cut_short_is_made_again(self) -> None:
        connection, path = self.at_version(STEPS[:1])
        before = self.dump(connection)
        copy = path.with_name(f"{path.name}.v1")
        copy.touch()
        upgrade(connection, path, STEPS)
        self.assertEqual(self.dump(self.open(copy)), before)

    def test_a_newer_file_is_refused_untouched(self) -> None:
        connection, path = self.at_version(STEPS)
        before = self.dump(connection)
        with self.assertRaisesRegex(NotAvailable, r"newer version.*schema 3.*knows 2"):
            upgrade(connection, path, STEPS[:2])
        with closing(self.open(path)) as again:
            self.assertEqual(self.dump(again), before)
