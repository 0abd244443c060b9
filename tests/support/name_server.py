"""A small DNS server on a loopback address, and a command under which a program asks it and no other. Needs root."""

import os
import shutil
import socket
import subprocess
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

# A resolver is found at port 53 alone: test runs beside each other have addresses of their own.
ADDRESS = f"127.53.{os.getpid() // 256 % 256}.{os.getpid() % 256}"


def why_not():
    """Why this machine cannot run a program with a resolver of its own, or None."""
    if os.geteuid() != 0:
        return "a resolver of its own needs root"
    if not shutil.which("unshare"):
        return "unshare is not on PATH"
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"unshare: {probe.stderr.strip()}" if probe.returncode else None


class NameServer:
    """Answers from `records`: {(name, type): [texts]}; everything else does not exist. A context manager."""

    def __init__(self, folder):
        self.records = {}
        self.asked = []
        self.silent = False
        self.refuses = False
        self._resolv = folder / "resolv.conf"
        self._resolv.write_text(f"nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 53))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def wrapper(self):
        """Words of a command that runs another one with this server as its resolver."""
        return ["unshare", "--mount", "sh", "-c", f'mount --bind {self._resolv} /etc/resolv.conf && exec "$@"', "sh"]

    def _serve(self):
        while True:
            data, peer = self._socket.recvfrom(65535)
            if data == b"end" and not self._socket.close():
                return
            if not self.silent:
                self._socket.sendto(self._answer(dns.message.from_wire(data)), peer)

    def _answer(self, question):
        name, kind = question.question[0].name, dns.rdatatype.to_text(question.question[0].rdtype)
        key = name.to_text(omit_final_dot=True).lower(), kind
        self.asked.append(key)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if self.refuses:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif key in self.records:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *self.records[key]))
        elif not any(key[0] == known for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"end", (ADDRESS, 53))
        self._thread.join()
