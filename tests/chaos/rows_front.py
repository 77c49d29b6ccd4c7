"""Row 24: nginx in front, with the configuration that the documentation ships, reloaded, killed and badly set."""

import asyncio
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.chaos.processes import until
from tests.chaos.scenario import Skipped, World, row
from tests.clients import front
from tests.machine import Missing, program
from tests.program import free_ports

BACK_SECONDS = 15.0


@row(24, "nginx in front: reload, kill, 5 s idle timeout, buffering on")
async def nginx_in_front(world: World) -> None:
    try:
        server = Nginx(program("nginx", "on Debian: apt install nginx"), world.directory / "nginx")
    except Missing as exc:
        raise Skipped(f"NOT RUN, and nothing is known of nginx: {exc}") from exc
    world.routes = lambda: [("127.0.0.1", server.port)]
    world.stack.push_async_callback(server.kill)
    await world.begin(gateways=2, clients=0, rate=0)
    server.configure([gateway.url for gateway in world.gateways])
    await server.start()
    await world.add_clients(20)
    world.container.emit_at(100)
    for _ in range(1 if world.short else 2):
        await world.pause(0.5, 1.0)
        world.fault("nginx is reloaded")
        server.reload()
        await world.pause(1.5, 2.0)  # worker_shutdown_timeout: the old workers let go of their streams
        await _all_are_told(world, "nginx was reloaded")
        world.fault("kill -9 of nginx, master and workers")
        await server.kill()
        await world.pause(0.0, 0.5)
        await server.start()
        await _all_are_told(world, "nginx was killed")
        victim = world.rng.choice(world.gateways)
        world.fault("kill -9 of a gateway behind nginx")
        victim.kill()
        await _all_are_told(world, "a gateway behind nginx was killed")
        await world.start_again(victim)
    world.fault("nginx buffers answers")
    server.configure([gateway.url for gateway in world.gateways], buffering="on")
    server.reload()
    await world.pause(1.5, 2.0)
    await _all_are_told(world, "nginx began to buffer")
    world.fault("nginx ends streams that are quiet for less than a heartbeat")
    server.configure([gateway.url for gateway in world.gateways], buffering="on", idle="5s")
    for gateway in world.gateways:
        gateway.config.reload["ACP_GATEWAY_EVENTS_HEARTBEAT"] = "15"
        await gateway.stop()
        await world.start_again(gateway)
    server.reload()
    await world.pause(1.5, 2.0)
    await world.container.pause()
    quiet = [client.connections for client in world.clients]
    await asyncio.sleep(6.0 if world.short else 12.0)
    ended = sum(client.connections > before for client, before in zip(world.clients, quiet, strict=True))
    world.note(f"{ended} of {len(world.clients)} quiet streams were ended meanwhile, and came back")
    world.expect(ended == len(world.clients), f"only {ended} streams were ended")
    world.container.emit_at(100)
    await _all_are_told(world, "streams were ended for being quiet")
    world.note_away(world.clients, BACK_SECONDS)


async def _all_are_told(world: World, after: str) -> None:
    """Every client gets something that is said from now on."""
    began = time.monotonic()
    await world.delivered(len(world.container.truth.events) + 1, 30)
    places = {client.name: client.seq for client in world.clients}
    await until(lambda: all(client.seq > places[client.name] for client in world.clients), 30, f"back after {after}")
    took = time.monotonic() - began
    world.within(took, BACK_SECONDS, f"all were told after {after}")


class Nginx:
    """An nginx whose configuration can change, and which dies."""

    def __init__(self, program: Path, home: Path) -> None:
        self.port = free_ports(1)
        self._program = program
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, upstreams: list[str], *, buffering: str = "off", idle: str = "60s") -> None:
        """The shipped configuration, with these two of its settings, for the next start or reload."""
        front.configure(self._home, self.port, upstreams)
        site = self._home / "site.conf"
        text = site.read_text().replace("proxy_buffering off;", f"proxy_buffering {buffering};")
        text, idles = re.subn(r"proxy_read_timeout 60s;", f"proxy_read_timeout {idle};", text)
        assert idles == 1
        site.write_text(text)

    async def start(self) -> None:
        self._spawn()
        await until(self._listens, 30, "nginx listens")

    def _spawn(self) -> None:
        log = self._home / "error.log"
        command = [str(self._program), "-e", str(log), "-p", str(self._home), "-c", str(self._home / "nginx.conf")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def kill(self) -> None:
        """At once, with its workers: they would serve on without their master."""
        if self._process is None or self._process.poll() is not None:
            return
        master = psutil.Process(self._process.pid)
        for process in (master, *master.children(recursive=True)):
            os.kill(process.pid, signal.SIGKILL)
        self._process.wait()
        await until(lambda: not self._listens(), 30, "nginx is gone")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None or self._process.returncode < 0, (self._home / "error.log").read_text()
        listening = psutil.net_connections("tcp4")
        return any(one.laddr.port == self.port and one.status == psutil.CONN_LISTEN for one in listening if one.laddr)
