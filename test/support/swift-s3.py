"""
OpenStack Swift with its S3 API, all four servers in one process: `python3 swift-s3.py FOLDER`. Prints its port, ends when
its standard input does. The key is `test:tester`, its secret `testing`.
"""

import array
import logging
import os
import sys

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi
from swift.common.ring import RingData
from swift.common import utils
from swift.account import server as account
from swift.container import server as container
from swift.obj import server as obj
from swift.common.wsgi import loadapp

logging.disable(logging.CRITICAL)

folder = sys.argv[1]
utils.HASH_PATH_PREFIX = utils.HASH_PATH_SUFFIX = b"test"
os.makedirs(os.path.join(folder, "devices", "d1"))


class Memory:
    """Instead of memcached; nothing expires within a test."""

    def __init__(self):
        self.values = {}

    def set(self, key, value, **_):
        self.values[key] = value

    def get(self, key, **_):
        return self.values.get(key)

    def incr(self, key, delta=1, **_):
        self.values[key] = int(self.values.get(key, 0)) + delta
        return self.values[key]

    def delete(self, key, **_):
        self.values.pop(key, None)


def with_length(headers):
    known = any(name.lower() == "content-length" for name, _ in headers)
    return headers if known else headers + [("Content-Length", "0")]


def memory_factory(_conf, **_local):
    memory = Memory()

    def wrap(app):
        def call(env, start):
            env["swift.cache"] = memory
            if env["REQUEST_METHOD"] != "HEAD":
                return app(env, start)
            # Errors of s3api have a body even then, which a client would take for the next answer.
            app(env, lambda status, headers, *rest: start(status, with_length(headers), *rest))
            return []

        return call

    return wrap


def listen(app):
    socket = eventlet.listen(("127.0.0.1", 0))
    eventlet.spawn(wsgi.server, socket, app, open(os.devnull, "w"))
    return socket.getsockname()[1]


def save_ring(name, port):
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1, "device": "d1", "meta": ""}
    device.update(ip="127.0.0.1", port=port, replication_ip="127.0.0.1", replication_port=port)
    ring = RingData([array.array("H", [0, 0])], [device], 31)
    ring.save(os.path.join(folder, name + ".ring.gz"))


SWIFT = """
[swift-hash]
swift_hash_path_prefix = test
[storage-policy:0]
name = Policy-0
default = yes
"""

PROXY = f"""
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors memory s3api tempauth slo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:memory]
paste.filter_factory = __main__:memory_factory
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
"""


def write(name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    return path


conf = {"devices": os.path.join(folder, "devices"), "mount_check": "false", "swift_dir": folder}
write("swift.conf", SWIFT)
save_ring("account", listen(account.AccountController(conf)))
save_ring("container", listen(container.ContainerController(conf)))
save_ring("object", listen(obj.ObjectController(conf)))
print(listen(loadapp(write("proxy.conf", PROXY))), flush=True)
eventlet.hubs.trampoline(0, read=True)
