"""The doors between the rooms: every interface that a component provides or is given.

The names of arguments and results are those of `model`. A method that returns at once says nothing of
waiting; one that waits returns a Deferred and says when it fires. It is longer than other modules
because it is the one list of all doors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from pathlib import Path

    from .command import Command
    from .errors import RTOCError
    from .model import (
        Buckets,
        Columns,
        Event,
        FloatColumn,
        Hold,
        Notice,
        Permission,
        Plot,
        Samples,
        Selector,
        Signal,
        SignalName,
        SignalSummary,
        Sums,
        Window,
    )


class ICommit(Interface):
    """The promise of one group commit, shared by everything that travels in it."""

    done: bool = Attribute("Whether the group is on disk or has failed.")
    error: RTOCError | None = Attribute("Why the group failed; None while it waits and after success.")
    durable: bool = Attribute("Set it, in the turn that got the commit, to let it wait for the disk itself.")

    def when_done(callback: Callable[[], None]) -> None:
        """Call back once the commit is done; at once if it is done already."""


class IStorage(Interface):
    """Where signals, samples, events and documents are kept.

    Writes are taken at once and become durable together: each returns the commit that carries it or
    a Deferred that fires after it. What is in memory (the catalog, summaries) answers at once and
    includes writes that are not yet on disk; reads of samples and events include every write taken
    before the call. Deferreds fail with StorageFailed where the disk refuses.
    """

    generation: int = Attribute("Changes whenever an id, a name or a unit of the catalog changes.")
    congested: bool = Attribute("Whether producers should pause until the next commit is done.")
    durability: str = Attribute('What a commit survives: "none", "normal" a crash, "fsync" a power cut, too.')

    def signals() -> Sequence[Signal]:
        """Return all signals in the order of their creation."""

    def find(name: SignalName) -> Signal | None:
        """Return the signal of that name, None if there is none."""

    def resolve(key: str) -> Signal | None:
        """Return the signal of a sigKey, None if there is none.

        Names may hold dots: the longest device name that makes it a signal wins.
        """

    def get(signal_id: int) -> Signal | None:
        """Return the signal of that id, None if there is none."""

    def add_signals(names: Sequence[SignalName]) -> Sequence[Signal]:
        """Create signals, and their devices where needed: all of them or none; the names must be new.

        Raises TooLarge past the limit of signals.
        """

    def set_unit(signal_id: int, unit: str) -> None:
        """Change a signal's unit."""

    def summary(signal_id: int) -> SignalSummary | None:
        """Return what is known of a signal without reading it, None while it has no samples."""

    def append(ids: Sequence[int], x: Sequence[float], y: Sequence[float]) -> ICommit:
        """Take values: y[i] at x[i] belongs to signal ids[i].

        ids: uint32[n]; x, y: float64[n] or lists of float. The columns are copied.
        """

    def replace(signal_id: int, x: FloatColumn, y: FloatColumn) -> ICommit:
        """Take a signal's samples instead of those that it has."""

    def merge(
        signal_id: int,
        x: FloatColumn,
        y: FloatColumn,
        hold: Hold,
        added: Callable[[FloatColumn, FloatColumn], None],
    ) -> ICommit:
        """Append the pairs whose x (or y, by `hold`) is new.

        `added` is called with these pairs after the commit, before those who wait for it.
        """

    def read(requests: Sequence[tuple[int, Window]], limit: int | None = None) -> Deferred[list[Columns]]:
        """Read several signals out of one snapshot; fires with a Columns for each request, in order.

        A signal that is unknown reads as empty. Fails with StorageFailed where samples on disk are damaged,
        BadValue where a page's cursor has no meaning any more; where a window says `partly`, its Columns
        tell that, with what can be read. Fails with TooLarge, having read few more than that, where there
        are more than `limit` samples to answer in all.
        """

    def aggregate(requests: Sequence[tuple[int, Window, Buckets]]) -> Deferred[list[Sums]]:
        """Sum several signals up out of one snapshot; fires with the Sums of each request, in order.

        Of the windows, the bounds of x and `partly` count. Samples whose x is not finite or whose y is NaN
        are left out. Where single samples are gone, buckets of what was kept of them count as soon as they
        overlap the window; of samples too sparse for buckets, those that are left count, and the Sums tell
        how many are not. Fails, or tells where a window says `partly`: BadValue where the width is
        none that can be had of what was kept, TooLarge past the limit of buckets, StorageFailed.
        """

    def remove_signals(ids: Iterable[int]) -> Deferred[tuple[int, int]]:
        """Remove signals, their samples and events, and devices left empty.

        The catalog forgets them at once; fires after the commit with the true counts of signals and
        events.
        """

    def clear() -> Deferred[None]:
        """Remove everything recorded and start all numbers again; fires after the commit.

        Which batches were seen stays known: what was cleared does not come back by a late resend.
        """

    def seen_batch(source: str, seq: int) -> ICommit | None:
        """Return the commit that carries a batch (done if it is stored), None if the batch is new.

        Raises BadValue if it is so old that this is not known any more. Whoever records a new batch asks
        first, then writes, then calls `add_batch`, all in one turn.
        """

    def add_batch(source: str, seq: int) -> ICommit:
        """Take note of a batch together with what was written in this turn; return the commit.

        For a batch that was seen it returns a commit that comes after the one that carried it.
        """

    def add_event(signal_id: int, event: Event) -> tuple[Event, ICommit]:
        """Take an event; return it with its number, and the commit that carries it."""

    def events(
        ids: Sequence[int] | None = None, limit: int | None = None, after: int | None = None
    ) -> Deferred[list[Event]]:
        """Fire with the newest `limit` events (of these signals), oldest first.

        after: the oldest `limit` of those with greater numbers instead.
        """

    def remove_events(numbers: Sequence[int] | None) -> Deferred[int]:
        """Remove events; None removes all and starts their numbers again. Fires with the true count."""

    def document(key: str) -> Any:
        """Return the JSON value kept under that key, None if there is none."""

    def documents(prefix: str) -> Mapping[str, Any]:
        """Return the documents whose keys begin with that, by key, sorted."""

    def put_document(key: str, value: Any) -> ICommit:
        """Keep a JSON value under that key; None removes it."""

    def note_event(number: int, notes: Mapping[str, Any]) -> ICommit:
        """Keep JSON values beside an event in place of those of the same name; None removes one.

        The names are `alarm`, told with the event, and `cause`. They go when the event goes; for an event
        that is gone nothing is kept.
        """

    def event_notes(number: int) -> Deferred[Mapping[str, Any] | None]:
        """Fire with what is kept beside an event, by name, and None where there is no such event."""

    def copy_to(path: Path) -> Deferred[None]:
        """Write a copy of everything to a new file, in a thread, while recording goes on.

        Fires when the copy is on disk; it holds every write taken before the call. Until then what the store
        writes beside its file cannot begin anew, and grows. Fails with BadValue if there is a file of that
        name, StorageFailed if the disk refuses or the store is closed meanwhile, NotAvailable if there is
        nothing on disk to copy; then it leaves nothing behind.
        """

    def flush() -> Deferred[None]:
        """Fire when all that was taken is on disk; fails if it could not be."""

    def close() -> Deferred[None]:
        """Flush, and let the files go; fires when that is done. Nothing may be called afterwards."""

    def counters() -> Mapping[str, float]:
        """Return figures for people and monitors: values taken, commits, values waiting, bytes on disk."""


class IEvents(Interface):
    """The event log."""

    def add(signal: Signal, event: Event) -> tuple[Event, ICommit]:
        """Keep an event of a signal; return it as it was kept, and the commit that carries it."""

    def query(
        signals: Sequence[Signal] | None, limit: int | None, after: int | None = None
    ) -> Deferred[list[Event]]:
        """Fire with the newest events, oldest first; None: of all signals, without limit.

        after: the oldest of those with greater numbers instead.
        """

    def remove(numbers: Sequence[int] | None) -> Deferred[int]:
        """Remove events, None for all; fires with the count."""


class IListener(Interface):
    """Hears facts, in the past tense, in the order in which they happened, before any answer."""

    def signal_added(signal: Signal) -> None:
        """A signal was created."""

    def signal_removed(signal: Signal) -> None:
        """A signal and its samples were removed."""

    def samples_appended(signals: Sequence[Signal], samples: Samples) -> None:
        """Values came: `samples` value i belongs to signals[i]."""

    def plot_drawn(signal: Signal, plot: Plot) -> None:
        """A plot came; plot.x and plot.y are the samples that it added."""

    def event_raised(event: Event) -> None:
        """An event was raised."""

    def plugins_changed(plugins: Mapping[str, Any]) -> None:
        """The state of plugins changed."""


class IPlugins(Interface):
    """The plugins, each in a process of its own.

    Methods that name a plugin raise UnknownPlugin if there is none of that name.
    """

    def names() -> Sequence[str]:
        """Return the names of all plugins, sorted."""

    def running(name: str) -> bool:
        """Return whether there is a plugin of that name, and it runs."""

    def listing() -> Mapping[str, Any]:
        """Return {name: {functions, parameters, status, autorun, info, log}} (protocol section 5)."""

    def start_plugin(name: str) -> Deferred[str]:
        """Start a plugin; fires with "" when its `__init__` is done, else with why it does not run.

        A plugin that runs is left alone. Raises NotAvailable while the server stops.
        """

    def stop_plugin(name: str) -> Deferred[None]:
        """Stop a plugin; fires when its process is gone, and what it sent was taken."""

    def set_autorun(name: str, on: bool) -> Deferred[bool]:
        """Let a plugin start with the server, or not; fires, once it is kept, with whether that is a change.

        Fails with StorageFailed.
        """

    def call(
        name: str, function: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Deferred[tuple[bool, Any]]:
        """Call a function of a plugin; fires with (True, what it returned) or (False, why not), in time."""

    def get(name: str, parameters: Sequence[str]) -> Deferred[list[Any]]:
        """Read parameters; fires with a value for each, false for one that cannot be read."""

    def set(name: str, parameter: str, value: Any) -> Deferred[Any]:
        """Set a parameter; fires with the value that it holds then, false if that failed."""

    def parameter(name: str, parameter: str) -> Any:
        """Return the value of a parameter as it was last heard of; raises BadValue if there is none."""

    def set_samplerate(rate: float) -> None:
        """Let the timers of all plugins run at that rate, in Hz."""

    def tell() -> None:
        """Tell listeners now of what changed (push P4), unless they were told a moment ago: then soon."""


class INotifier(Interface):
    """Tells people, wherever they are, through the channels of the configuration."""

    def notify(notice: Notice) -> int:
        """Take a notice for all channels that want it; return how many do.

        Returns at once: it is sent later, and again until it arrives or is too old.
        """

    def told() -> Mapping[str, Any]:
        """Return {channel: {waiting, sent, failed, dropped, lastError}} for people."""

    def counters() -> Mapping[str, float]:
        """Return figures for people and monitors."""


class IAutomation(Interface):
    """Rules raise events out of conditions, actions run scripts after events (protocol section 5).

    `who` is the name of the account, for the log of revisions. What changes something is on disk when the
    commit is done that it returns.
    """

    def told() -> Mapping[str, Any]:
        """Return {events, actions, active} as the key `automation` answers them."""

    def set_event(fields: Mapping[str, Any], who: str) -> ICommit:
        """Set a rule; raises BadValue, naming key and column."""

    def set_action(fields: Mapping[str, Any], who: str) -> ICommit:
        """Set an action; raises BadValue, naming key and line."""

    def set_user_action(fields: Mapping[str, Any], who: str) -> ICommit:
        """Set a user action, {name, script}; raises BadValue."""

    def remove(kind: str, name: str, who: str) -> ICommit | None:
        """Remove an "event", "action" or "userAction"; return None where there is none of that name."""

    def user_actions() -> Mapping[str, str]:
        """Return the scripts of the user actions by name."""

    def activate(active: Mapping[str, Any], who: str) -> ICommit:
        """Switch all events or all actions on or off: {events, actions}, each as it was given."""

    def reset(names: Sequence[str] | None) -> ICommit:
        """Let rules, None for all, forget what their conditions said last."""

    def test_event(name: str, force: bool = False) -> Deferred[Mapping[str, Any]]:
        """Evaluate a rule's condition, raise its event if it holds or by `force`; fires with {ok, value}."""

    def test_action(name: str, dry: bool = False) -> Deferred[Mapping[str, Any]]:
        """Run an action; fires with {ok, value}, and when dry with the `effects` that it would have had."""

    def run_user_action(name: str) -> Deferred[Mapping[str, Any]]:
        """Run a user action; fires with {name, success, type, data}."""

    def stop_action(name: str) -> bool:
        """Ask the runs of an action to end; return whether there were any."""

    def runs() -> Sequence[Mapping[str, Any]]:
        """Return the runs of actions that are under way, and the newest that ended."""

    def alarms(names: Sequence[str] | None = None) -> Mapping[str, Any]:
        """Return the states of alarms by their rules' names (OPC UA Part 9); raises BadValue for no rule."""

    def change_alarm(
        verb: str, name: str, who: str, comment: str | None = None, seconds: float | None = None
    ) -> tuple[Mapping[str, Any], ICommit]:
        """Acknowledge, confirm, shelve, unshelve, suppress, unsuppress or unlatch; return the new state.

        Raises BadValue where the state does not allow it.
        """

    def why(number: int) -> Deferred[Sequence[Mapping[str, Any]] | None]:
        """Fire with the causes of an event, its own first, then its parent's; None if there is no event."""

    def backtest(
        event: Mapping[str, Any] | str,
        start: float | None,
        stop: float | None,
        progress: Callable[[float], None],
    ) -> Deferred[Mapping[str, Any]]:
        """Fire with when a rule would have fired on what is recorded; cancelling it ends the work.

        progress: called with 0 .. 1 now and then.
        """

    def revisions(limit: int | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the newest changes of rules and actions, oldest first."""

    def rollback(number: int, who: str) -> ICommit:
        """Set everything as it was after that revision; raises BadValue where that is not known any more."""

    def rollback_changes_scripts(number: int) -> bool:
        """Return whether a rollback would change what scripts do."""

    def counters() -> Mapping[str, float]:
        """Return figures for people and monitors."""


class IRecorder(Interface):
    """The one place that writes and tells: nothing is stored untold or told unstored."""

    def append(samples: Samples) -> ICommit:
        """Record values, creating signals that are new; return the commit that carries them."""

    def draw(plot: Plot) -> ICommit:
        """Record a plot; return the commit that carries it."""

    def raise_event(event: Event) -> ICommit:
        """Keep an event, creating its signal if that is new; return the commit that carries it."""

    def record(data: Samples | Plot | Event) -> ICommit:
        """Do for data of any kind what its own method does; return the commit that carries it."""

    def once(
        source: str, seq: int, data: Samples | Plot | Event, durable: bool = False
    ) -> tuple[ICommit, bool]:
        """Record data unless this batch of its source was recorded before: then nobody is told again.

        Returns the commit to wait for and whether it was a duplicate; durable: a commit that can still
        be made durable together with all before it. Raises BadValue for a batch too old to tell.
        """

    def remove(signals: Sequence[Signal]) -> Deferred[tuple[int, int]]:
        """Remove signals; fires with the counts of signals and events."""

    def clear() -> Deferred[None]:
        """Remove everything recorded."""

    def afterwards(do: Callable[[], None]) -> None:
        """Call back once everybody was told the present fact, before the call that brought it returns.

        At once where no fact is being told. So a listener can write without that others hear of the
        consequence before its cause.
        """

    def tell_plugins(plugins: Mapping[str, Any]) -> None:
        """Tell the listeners how the plugins are now."""

    def subscribe(listener: IListener, selector: Selector) -> Callable[[], None]:
        """Tell a listener all facts, and those of samples that the selector wants; return the undo.

        Subscribing again replaces the selector.
        """


class IAccount(Interface):
    """Somebody who was let in."""

    name: str = Attribute("The account's name, for logs.")

    def may(permission: Permission) -> bool:
        """Return whether the account has that permission."""


class IPeer(Interface):
    """Where a connection comes from, as far as trust depends on it."""

    address: str = Attribute("The IP address as text; empty for a local socket.")
    trusted: bool = Attribute("Whether the whitelist holds for it (protocol section 3).")
    secure: bool = Attribute("Whether it came over TLS.")


class IAuth(Interface):
    """Decides who may enter."""

    required: bool = Attribute("Whether a password is set.")
    cipher_key: bytes | None = Attribute("The key of the old cipher, None where it is not offered.")
    cipher_required: bool = Attribute("Whether plain ws from peers that are not trusted is refused.")

    def admit(peer: IPeer) -> IAccount | None:
        """Return the account of a peer that needs no login, None where one is needed."""

    def login(credential: Any, peer: IPeer) -> Deferred[IAccount | None]:
        """Check the value of an `authorize` key; fires with the account, None if it is refused.

        Wrong tries are answered later and later, by address. Cancelling it gives the try up.
        """


class IStream(Interface):
    """A message too large for one frame: fragments (RFC 6455 section 5.4), each made when it is taken."""

    size: int = Attribute("Bytes of what the fragments are made of.")
    done: bool = Attribute("Whether the last fragment was taken.")

    def take() -> bytes:
        """Return the next fragment, a whole frame; raises what its encoding raised, and is useless then."""


class ISocket(Interface):
    """All that a connection knows of a socket."""

    peer: IPeer = Attribute("Where it comes from.")
    congested: bool = Attribute("Whether what was sent is not leaving: stop working for this client.")

    def send(frames: bytes | IStream) -> None:
        """Send ready WebSocket frames, or one message as a stream of them.

        What is sent while a stream is under way waits until it is done. Never raises; a socket that is
        gone ignores it.
        """

    def close(code: int, reason: str) -> None:
        """Say goodbye (RFC 6455 section 7.4) and close."""

    def pause() -> None:
        """Stop reading from the client. Idempotent."""

    def resume() -> None:
        """Read again. Idempotent."""


class IConnection(Interface):
    """What a handler may touch of the connection that asks."""

    peer: IPeer = Attribute("Where the client is.")
    account: IAccount | None = Attribute("Who asks.")

    def login(credential: Any) -> Deferred[None]:
        """Try to log in; fires when the client was told that it went well, fails if it was refused."""

    def settle(commit: ICommit, ack: str = "stored") -> None:
        """Let the present answer wait for a commit.

        ack: "received" waits only while the store is congested; "none" answers failures alone, or what
        there is more to say than `sent`; anything else waits for the commit.

        To be called before the handler returns or first waits; raises RuntimeError later.
        """

    def selector() -> Selector:
        """Return what this connection is subscribed to."""

    def watch(selector: Selector) -> None:
        """Change what this connection is subscribed to."""

    def set_event_level(level: int) -> None:
        """Push only events of at least that priority."""

    def tell(message: Mapping[str, Any]) -> None:
        """Send a message to this client now, before the answer to what is under way."""

    def when_ended(do: Callable[[], None]) -> Callable[[], None]:
        """Call back when the client is gone, at once if it is; return the undo."""


class ICommandSource(Interface):
    """A component that answers keys of requests."""

    def commands() -> Iterable[Command]:
        """Return the commands, once, at start."""
