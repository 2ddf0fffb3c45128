"""Puts the nat rules of deploy/redirect/sidecar.iptables into this network namespace without iptables, by the kernel's
own interface (linux/netfilter_ipv4/ip_tables.h), for machines that have the one and not the other.

Usage: redirect-rules.py UID FROM:TO [FROM:TO ...]
"""
import ctypes
import socket
import struct
import sys

IPT_SO_GET_INFO = IPT_SO_SET_REPLACE = 64
ACCEPT, RETURN = -2, -5
PREROUTING, INPUT, OUTPUT, POSTROUTING = 0, 1, 3, 4
LOOPBACK, LOOPBACK_MASK = 0x7F000000, 0xFF000000
PORT_SPECIFIED = 2

libc = ctypes.CDLL(None, use_errno=True)
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def part(name, revision, payload):
    """A match or target: its length, name and revision, then what it says, in multiples of 8 bytes."""
    size = (32 + len(payload) + 7) // 8 * 8
    return (struct.pack("<H29sB", size, name, revision) + payload).ljust(size, b"\0")


def verdict(number):
    return part(b"", 0, struct.pack("<i", number))


def rule(target, match=b"", destination=0, mask=0, protocol=0):
    ip = struct.pack(">IIII", 0, destination, 0, mask) + bytes(64) + struct.pack("<HBB", protocol, 0, 0)
    offset = 112 + len(match)
    return ip + struct.pack("<IHHI", 0, offset, offset + len(target), 0) + bytes(16) + match + target


def of_user(uid):
    return rule(verdict(RETURN), part(b"owner", 1, struct.pack("<IIIIBB", uid, uid, 0, 0, 1, 0)))


def redirect(source, port):
    match = part(b"tcp", 0, struct.pack("<HHHHBBBB", 0, 65535, source, source, 0, 0, 0, 0))
    where = struct.pack("<IIIIHH", 1, PORT_SPECIFIED, 0, 0, socket.htons(port), socket.htons(port))
    return rule(part(b"REDIRECT", 0, where), match, protocol=socket.IPPROTO_TCP)


def table_now():
    """Valid hooks and number of rules."""
    answer = ctypes.create_string_buffer(b"nat".ljust(84, b"\0"), 84)
    length = ctypes.c_uint32(84)
    if libc.getsockopt(raw.fileno(), 0, IPT_SO_GET_INFO, answer, ctypes.byref(length)):
        raise OSError(ctypes.get_errno(), "the nat table cannot be read")
    fields = struct.unpack("<I5I5III", answer.raw[32:])
    return fields[0], fields[11]


def replace(chains):
    rules, first, policy, count = b"", [0] * 5, [0] * 5, 0
    for hook, chain in chains.items():
        first[hook] = len(rules)
        for each in [*chain, rule(verdict(ACCEPT))]:
            policy[hook] = len(rules)
            rules += each
            count += 1
    rules += rule(part(b"ERROR", 0, b"ERROR".ljust(32, b"\0")))
    hooks, before = table_now()
    counters = ctypes.create_string_buffer(16 * before)
    head = struct.pack(
        "<32sIII5I5IIQ", b"nat", hooks, count + 1, len(rules), *first, *policy, before, ctypes.addressof(counters)
    )
    if libc.setsockopt(raw.fileno(), 0, IPT_SO_SET_REPLACE, head + rules, len(head + rules)):
        raise OSError(ctypes.get_errno(), "the nat table cannot be replaced")


own_user, *ports = sys.argv[1:]
to_loopback = rule(verdict(RETURN), destination=LOOPBACK, mask=LOOPBACK_MASK)
redirected = [redirect(*map(int, each.split(":"))) for each in ports]
output = [of_user(int(own_user)), to_loopback, *redirected]
replace({PREROUTING: [], INPUT: [], OUTPUT: output, POSTROUTING: []})
