"""A broker on this loop, with its endpoints, connection file and local nodes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.broker.store_sweeper import StoreSweeper
from steerio.broker.succession import Succession
from steerio.client.client import Client
from steerio.edge.record.broker_file import BrokerFile
from steerio.edge.record.ledger_files import FolderOnDisk
from steerio.edge.record.record_files import RecordFiles
from steerio.edge.record.record_lines import endings
from steerio.edge.store.folders import open_folder, sweep_stale, take_over_folder
from steerio.edge.store.opening_stores import check_store, open_store, own_folders
from steerio.edge.store.store import Store
from steerio.edge.system.descriptors import need_descriptors
from steerio.edge.system.machine import process_space
from steerio.edge.system.own_files import make_own_folder, writing_to
from steerio.edge.system.threads import in_thread
from steerio.edge.wire.connection import FILE_NAME, Connection, read_connection
from steerio.edge.wire.keyring import KeyList
from steerio.edge.wire.keys import NODE, OBSERVER
from steerio.edge.wire.socket_folders import sweep_sockets
from steerio.errors import UsageError
from steerio.launch.broker_setup import BrokerSetup, search_path
from steerio.launch.engine_node import EngineNode
from steerio.launch.engine_nodes import EngineNodes
from steerio.launch.listening import Listening
from steerio.launch.local_node import LocalNode
from steerio.launch.node_process import NodeProcess
from steerio.launch.on_executor import refuse_list
from steerio.launch.stores import check_pickleless, choose_store
from steerio.model.objects import StoreSetting
from steerio.node.setup import WORK, NodeSetup
from steerio.worker.random_streams import choose_seed

SEED_FILE = "random_seed"
"""The file of a run directory with the seed of the workers' random numbers."""
CAMPAIGNS_CORES = 1
"""Cores of this machine that no worker of the local node is pinned to."""


class Hosting:
    """A running broker: endpoints, driver, the nodes on this machine, and the way in.

    Open it with `start`, end it with `close`; all that was opened is closed in either case.

    Args:
        setup: its pools, its record, its address, its store.
        node: the process of the local node, if that was started early.

    Raises:
        UsageError: the random seed of the setup cannot be one, or there is a list of allowed
            functions, and its store or an executor reads pickles.
    """

    def __init__(self, setup: BrokerSetup, node: NodeProcess | None = None) -> None:
        self.random_seed = choose_seed(setup.random_seed)
        self.settings = setup.settings
        self.run_dir = setup.run_dir
        self.on_stop: Callable[[str], None] | None = None
        """Called when a client asks the broker to end; by default the broker just ends."""
        self.on_stop_heard: Callable[[], None] | None = None
        """Called once, from any thread, if the loop stands still and so cannot call `on_stop`."""
        self.broker: Broker
        self.connection: Connection
        self._setup = setup
        self._node = LocalNode(self._own_node, node)
        self.engines = EngineNodes()
        """The nodes of engines in this process."""
        peers = sum(setup.workers.values())
        self._key_list = None if setup.run_dir is None else KeyList(setup.run_dir)
        self._listening = Listening(setup.host, setup.port, setup.encrypted, peers, self._key_list)
        self._record: RecordFiles | None = None
        self._driver: Driver | None = None
        self._written: list[Path] = []
        """The connection files."""
        shared = setup.run_dir if setup.shared else None
        self._setting, self._absent = choose_store(setup.store, setup.host, shared)
        if setup.allow is not None:
            check_pickleless(self._setting)
            refuse_list(setup.on_executors, setup.allow)
        self._objects = ""
        self._opened = contextlib.ExitStack()
        """The folders of the store."""
        self._store: Store | None = None
        self._sweeper: StoreSweeper | None = None

    async def start(self, *, stand_in: bool = True) -> None:
        """Open the endpoints, drive the broker and start the local node.

        Args:
            stand_in: whether the loop is a campaign's, which may stand still; otherwise nothing but
                the broker is on it, and no client can `join`.

        Raises:
            UsageError: the store does not work, the run directory cannot be written to, no address
                can be listened on, or this process may not have enough descriptors or threads.
        """
        try:
            need_descriptors(sum(self._setup.workers.values()))
            if self._setup.workers:
                self._node.prepare()
            await in_thread(self._open_store)
            self._listening.open(for_own_loop=stand_in)
            self.connection = self._reached_at()
            if self.run_dir is not None:
                with writing_to(self.run_dir):
                    self._record = RecordFiles(self.run_dir)
            self.broker = Broker(
                self._listening.routers,
                pools=self._setup.all_pools,
                closed=self._setup.closed,
                settings=self.settings,
                record=self._record,
                sweeper=self._sweeper,
                succession=self._succession(standing=not stand_in),
                ledgers=self._ledgers(standing=not stand_in),
                copied_bytes=self._copied_bytes(),
                allow=self._setup.allow,
                door=self._listening.door,
            )
            self._driver = Driver(
                self.broker, on_stop=self._asked_to_stop, on_stop_heard=self._heard_to_stop
            )
            self._driver.start(stand_in=stand_in)
            if self.run_dir is not None:
                with writing_to(self.run_dir):
                    connection = self.connection
                    for each in (connection.only(NODE), connection.only(OBSERVER), connection):
                        self._written.append(each.write(self.run_dir))
            if self._setup.workers:
                self._node.start(self.broker)
            for pool, on in self._setup.on_executors.items():
                slots, files = self._setup.pools[pool], self._setup.files
                self.engines.start(
                    EngineNode(pool, on, slots, self.connection, self.settings, files)
                )
        except BaseException:
            if self._setup.before is not None:
                # the folders of its predecessor, whose clients wait, are for the next that starts;
                # a fresh one is swept then, as this process ends
                self._opened.pop_all()
            await self.close("the start failed")
            raise

    async def join(self, name: str) -> Client:
        """Return a client of this broker, on this loop."""
        client = Client(self._listening.memory.link(), self.settings, watched=False)
        await client.join(name)
        return client

    def _succession(self, *, standing: bool) -> Succession | None:
        """Return the place of a standing broker among those that begin in its run directory."""
        if not standing or self.run_dir is None:
            return None
        with writing_to(self.run_dir):
            return BrokerFile(self.run_dir)

    def _ledgers(self, *, standing: bool) -> FolderOnDisk | None:
        """Return the folder of detached clients' ledgers, if another broker may take them up."""
        return FolderOnDisk(self.run_dir) if standing and self.run_dir is not None else None

    def _reached_at(self) -> Connection:
        """Return the connection by which other processes find this broker."""
        at = self._listening
        return Connection(
            socket.gethostname(),
            os.getpid(),
            at.local,
            at.remote,
            at.keys,
            store=self._setting,
            objects=self._objects,
            space=process_space(),
            random_seed=self.random_seed,
            rejoin_s=self.settings.rejoin_s,
            allow=self._setup.allow,
        )

    def _copied_bytes(self) -> int:
        """Return how many bytes nodes copy ahead: half of their cache is for present needs."""
        setting = self._setting
        return setting.cached_bytes // 2 if setting is not None and setting.remote else 0

    @property
    def store(self) -> tuple[StoreSetting, Store | None, str]:
        """The setting of the store, and the store; or ``None`` and the reason why there is none."""
        return self._setting or StoreSetting(), self._store, self._absent

    def recorded_ends(self) -> Mapping[str, int]:
        """Return how many tasks in the record here ended in which way, by all incarnations."""
        record = self._record
        if record is None:
            return {}
        if record.incarnation > 1:
            with contextlib.suppress(OSError):
                return Counter(endings(record.folder))
        return record.ended

    async def close(self, reason: str = "the campaign has ended") -> None:
        """End the nodes, the broker and everything that belongs to them.

        A cancellation does not stop this, for its end is not far.
        """
        closing = asyncio.ensure_future(self._close(reason))
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                cancelled = error
        closing.result()
        if cancelled is not None:
            raise cancelled

    async def _close(self, reason: str) -> None:
        self._node.let_end()
        self.engines.let_end(reason)
        self._remove_connection()
        try:
            await self._node.close()
            await self.engines.close(reason)
        except BaseException:  # at a second Ctrl-C asyncio.run cancels all tasks
            self.kill()
            raise
        finally:
            try:
                self._close_broker(reason)
                if self._store is not None:
                    await in_thread(self._close_store)
            finally:
                self.remove_files()

    def _close_broker(self, reason: str) -> None:
        if self._driver is not None:
            self._driver.close(reason)
        else:  # the start failed
            for router in self._listening.routers:
                router.close()
            if self._record is not None:
                self._record.close()
        self._listening.close()

    def remove_files(self) -> None:
        """Remove the files that would say that the broker still runs, and the folder of sockets."""
        self._remove_connection()
        self._listening.remove_folder()
        self._opened.close()

    def _remove_keys(self) -> None:
        if self._key_list is not None:
            self._key_list.remove()

    def _remove_connection(self) -> None:
        for path in reversed(self._written):  # the one that others look for goes first
            # a broker that was taken over from leaves those of its successor, and its keys
            with contextlib.suppress(OSError, UsageError):
                if read_connection(path, secret=False).local == self.connection.local:
                    if path.name == FILE_NAME:
                        self._remove_keys()
                    path.unlink()

    def kill(self) -> None:
        """Kill the local workers at once, and start no others (for a second Ctrl-C)."""
        self._node.kill()
        self.engines.kill()

    def abandon(self, reason: str) -> None:
        """Kill the local workers and close the record, from any thread: the loop is lost."""
        self.kill()
        if self._driver is not None:
            self.broker.abandon(reason)

    def _asked_to_stop(self, reason: str) -> None:
        if self.on_stop is not None:
            self.on_stop(reason)
        elif self._driver is not None:
            self._driver.close(reason)

    def _heard_to_stop(self) -> None:
        if self.on_stop_heard is not None:
            self.on_stop_heard()

    def _open_store(self) -> None:
        if self._setting is not None:
            check_store(self._setting)
        if self.run_dir is not None:
            with writing_to(self.run_dir):
                make_own_folder(self.run_dir)
                self._remove_keys()  # of a broker before
                (self.run_dir / SEED_FILE).write_text(f"{self.random_seed}\n")
        if self._setting is None:
            return
        before = self._setup.before
        taken = take_over_folder(Path(before.objects)) if before and before.objects else None
        sweep_stale()
        sweep_sockets()
        folder = self._opened.enter_context(taken or open_folder()).path
        self._objects = str(folder)
        self._setting = own_folders(
            self._setting, self._opened, None if before is None else before.store
        )
        self._store = open_store(self._setting, folder, "")
        self._sweeper = StoreSweeper(self._store)

    def _close_store(self) -> None:
        assert self._sweeper is not None
        assert self._store is not None
        self._sweeper.close()
        self._store.close()
        self._opened.close()

    def _own_node(self) -> NodeSetup:
        """Return the setup of the node on this machine."""
        return self.setup(
            socket.gethostname().split(".")[0],
            self._setup.workers,
            log="workers.log",
            pin=self._setup.pin,
            spare_cores=CAMPAIGNS_CORES,
        )

    def setup(
        self,
        name: str,
        workers: dict[str, int],
        *,
        log: str,
        local: bool = True,
        pin: bool = True,
        spare_cores: int = 0,
    ) -> NodeSetup:
        """Return the setup of a node of this broker.

        Args:
            name: of the node.
            workers: its number of workers for each pool.
            log: name of the file for their output, in the run directory if there is one.
            local: whether it is on this machine.
            pin: whether each worker gets cores of its own, if there are enough.
            spare_cores: how many cores to leave to others.
        """
        connection = self.connection
        return NodeSetup(
            name=name,
            address=connection.local if local else connection.remote,
            worker_address=self._listening.stream if local else "",
            keys=connection.keys[NODE] if connection.keys is not None and not local else None,
            workers=workers,
            needs=self._setup.needs,
            preload=self._setup.preload,
            files=self._setup.files,
            path=search_path(),
            pin=pin,
            spare_cores=spare_cores,
            work=str(self.run_dir.absolute() / WORK) if self.run_dir else "",
            log=str(self.run_dir / log) if self.run_dir else "",
            folder=str(self._listening.folder) if local else "",
            settings=self.settings,
            store=self._setting,
            objects=connection.objects if local else "",
            random_seed=self.random_seed,
            allow=self._setup.allow,
        )
