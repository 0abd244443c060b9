"""LISTEN_FDS: sockets that systemd has bound, played by a parent that hands them over before the program exists."""

import contextlib
import os
import socket
import subprocess
import urllib.request

import psycopg
import pytest
import yaml

from support.holdfast import BINARY
from support.waiting import free_port, wait_for

# What systemd does between fork and exec: descriptors from 3 on, and the child's own number.
HAND_OVER = 'export LISTEN_PID=$$ LISTEN_FDS=$1; shift; exec "$@"'
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@contextlib.contextmanager
def activated(sockets, *arguments, names=None):
    """holdfast with the sockets as descriptors 3, 4, …."""
    def place():
        spare = [os.dup(each.fileno()) for each in sockets]  # first out of the way of one another
        high = [os.dup2(descriptor, 50 + index) for index, descriptor in enumerate(spare)]
        for index, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + index)
        os.closerange(3 + len(high), 200)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "LISTEN_", "DB_", "PG"))}
    if names:
        environment["LISTEN_FDNAMES"] = names
    with subprocess.Popen(["sh", "-c", HAND_OVER, "sh", str(len(sockets)), BINARY, *map(str, arguments)], preexec_fn=place, close_fds=False,
                          env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process):
    process.terminate()
    assert process.wait(timeout=10) == 0, process.stdout.read()


def query(**where):
    with psycopg.connect(user="app", dbname="app", sslmode="disable", connect_timeout=10, **where) as client:
        return client.execute("SELECT 40 + 2").fetchone() == (42,)


def healthy(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def write(path, admin, **connection):
    path.write_text(yaml.safe_dump({"admin": {"listen": admin}, "connections": [{"id": "main", "type": "postgres", "auth": "trust", **connection}]}))
    return path


def local():
    listening = socket.create_server(("127.0.0.1", 0))
    return listening, listening.getsockname()[1]


def test_clients_that_came_before_the_program_are_served_on_the_sockets_it_was_given(server, tmp_path):
    tcp, port = local()
    admin, admin_port = local()
    path = tmp_path / f".s.PGSQL.{port}"
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    config = write(tmp_path / "holdfast.yaml", f"127.0.0.1:{admin_port}", upstream=server.uri(), listen=[f"localhost:{port}", f"unix:{path}"])
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as early:
            early.sendall(SSL_REQUEST)
            with activated([unix, admin, tcp], "run", "-c", config) as process:
                assert early.recv(1) == b"N"
                early.close()
                assert query(host="127.0.0.1", port=port) and query(host=str(tmp_path), port=port)
                assert healthy(admin_port)
                end(process)
        # The sockets are systemd's: they are there for the next start, and a client waits in them meanwhile.
        assert path.exists()


def test_a_socket_with_the_name_of_a_connection_or_of_the_admin_port_takes_the_place_of_its_address(server, tmp_path):
    (tcp, port), (admin, admin_port) = local(), local()
    config = write(tmp_path / "holdfast.yaml", f"127.0.0.1:{free_port()}", upstream=server.uri(), listen=f"127.0.0.1:{free_port()}")
    with activated([admin, tcp], "run", "-c", config, names="admin:main") as process:
        wait_for(lambda: healthy(admin_port), 10, "the admin port answers")
        assert query(host="127.0.0.1", port=port)
        end(process)
        assert f"main listens on 127.0.0.1:{port}" in process.stdout.read()


def anywhere():
    return socket.create_server(("0.0.0.0", 0))


@pytest.mark.parametrize("make, names, words", (
    (socket.socket, None, "descriptor 3 is no listening stream socket"),
    (lambda: open(os.devnull, encoding="ascii"), None, "descriptor 3 is no listening stream socket"),
    (lambda: local()[0], None, "nothing listens on 127.0.0.1:"),
    (lambda: local()[0], "holdfast.socket", "its name holdfast.socket is neither a connection's id nor admin"),
    (anywhere, "main", "is named main: trust is for loopback and unix sockets only"),
    (anywhere, "admin", "other machines can reach it, so token_file is needed")))
def test_a_socket_that_nobody_may_have_is_one_sentence_and_exit_1(make, names, words, tmp_path):
    config = write(tmp_path / "holdfast.yaml", f"127.0.0.1:{free_port()}", upstream="postgres://a@127.0.0.1:1/a", listen=f"127.0.0.1:{free_port()}")
    with make() as given, activated([given], "run", "-c", config, names=names) as process:
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 1 and words in output, output
    assert output.count("holdfast: ") == 1, output


def test_two_sockets_for_one_place_are_refused(tmp_path):
    config = write(tmp_path / "holdfast.yaml", f"127.0.0.1:{free_port()}", upstream="postgres://a@127.0.0.1:1/a", listen=f"127.0.0.1:{free_port()}")
    for name in ("main", "admin"):
        (one, _), (other, _) = local(), local()
        with one, other, activated([one, other], "run", "-c", config, names=f"{name}:{name}") as process:
            output, _ = process.communicate(timeout=10)
        assert process.returncode == 1 and f"several sockets are named {name}" in output, output


def test_variables_of_another_process_are_not_believed(server):
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        with subprocess.Popen([BINARY, "run", "--upstream", server.uri(), "--listen", f"127.0.0.1:{port}", "--admin", "off"],
                              env={**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1", "HOLDFAST_AUTH": "trust"}, pass_fds=[other.fileno()],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                wait_for(lambda: query(host="127.0.0.1", port=port), 10, "it serves")
                end(process)
            finally:
                process.kill()
