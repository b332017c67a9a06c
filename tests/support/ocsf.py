# SPDX-License-Identifier: GPL-3.0-or-later
"""OCSF 1.8.0, as much of it as records here use: per class and object its attributes with type, enum and requirement,
taken from the published definition (events/, objects/, profiles host and security_control). check(record) lists what
departs from it; an attribute that is not in these tables departs."""
import ipaddress

VERSION = "1.8.0"
TEXT, NUMBER, FLAG, TIME, ADDRESS = "text", "number", "flag", "time", "address"
IDS = {
    "action_id": (0, 1, 2, 3, 4, 99), "algorithm_id": (*range(21), 99), "direction_id": (0, 1, 2, 3, 4, 99),
    "disposition_id": (*range(28), 99), "launch_type_id": (0, 1, 2, 3, 99), "security_level_id": (0, 1, 2, 3, 99),
    "severity_id": (*range(7), 99), "state_id": (0, 1, 2, 99), "status_id": (0, 1, 2, 99),
}
# attributes; which are required; of which at least one must be there
OBJECTS = {
    "actor": ({"user": "user", "process": "process"}, (), ("process", "user")),
    "connection_info": ({"direction_id": "id", "protocol_name": TEXT}, ("direction_id",), ()),
    "device": ({"uid": TEXT, "hostname": TEXT, "type_id": (*range(16), 99), "boot_uid": TEXT, "os": "os"}, ("type_id",),
               ("ip", "uid", "name", "hostname")),
    "file": ({"name": TEXT, "path": TEXT, "type_id": (*range(9), 99), "hashes": ["fingerprint"]}, ("name", "type_id"), ("name", "uid")),
    "finding_info": ({"uid": TEXT, "title": TEXT, "desc": TEXT, "created_time": TIME}, ("uid",), ()),
    "fingerprint": ({"algorithm_id": "id", "value": TEXT}, ("algorithm_id", "value"), ()),
    "firewall_rule": ({"uid": TEXT, "name": TEXT, "version": TEXT}, (), ("name", "uid")),
    "metadata": ({"version": TEXT, "uid": TEXT, "sequence": NUMBER, "profiles": [TEXT], "product": "product"}, ("product", "version"), ()),
    "network_endpoint": ({"ip": ADDRESS, "port": (range(65536)), "uid": TEXT, "hostname": TEXT}, (), ("ip", "uid", "name", "hostname")),
    "os": ({"name": TEXT, "type_id": (0, 99, 100, 101, 200, 201, 300, 301, 302, 400, 401, 402), "version": TEXT}, ("name", "type_id"), ()),
    "policy": ({"uid": TEXT, "name": TEXT, "version": TEXT, "is_applied": FLAG}, (), ("name", "type", "uid")),
    "process": ({"pid": NUMBER, "uid": TEXT, "name": TEXT, "file": "file"}, (), ("pid", "uid", "cpid")),
    "product": ({"name": TEXT, "vendor_name": TEXT, "version": TEXT}, (), ("name", "uid")),
    "user": ({"name": TEXT, "uid": TEXT}, (), ("account", "name", "uid")),
}
BASE = {"class_uid": NUMBER, "category_uid": NUMBER, "activity_id": NUMBER, "type_uid": NUMBER, "severity_id": "id", "time": TIME,
        "start_time": TIME, "end_time": TIME, "count": NUMBER, "status_id": "id", "status_detail": TEXT, "message": TEXT,
        "metadata": "metadata", "unmapped": "anything",
        # profiles host and security_control
        "device": "device", "actor": "actor", "action_id": "id", "disposition_id": "id", "is_alert": FLAG, "policy": "policy",
        "firewall_rule": "firewall_rule"}
REQUIRED = ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid")
NETWORK = {"app_name": TEXT, "dst_endpoint": "network_endpoint", "src_endpoint": "network_endpoint", "connection_info": "connection_info"}
# category, activities, own attributes, own requirements, at least one of
CLASSES = {
    1007: (1, (0, 1, 2, 3, 4, 5, 99), {"process": "process", "launch_type_id": "id"}, ("actor", "device", "process"), ()),
    2004: (2, (0, 1, 2, 3, 99), {"finding_info": "finding_info", "status_id": (*range(7), 99)}, ("finding_info",), ()),
    3005: (3, (*range(5), 99), {"activity_name": TEXT, "user": "user", "privileges": [TEXT]}, ("user",), ()),
    4001: (4, (*range(8), 99), NETWORK, (), ("dst_endpoint", "src_endpoint")),
    4003: (4, (0, 1, 2, 6, 99), NETWORK, (), ("dst_endpoint", "src_endpoint")),
    5019: (5, (0, 1, 2, 99), {"state_id": "id", "security_level_id": "id"}, ("device",), ()),
}


def check_value(path, name, kind, value):
    if kind == "anything":
        return
    if isinstance(kind, list):
        if not isinstance(value, list):
            yield f"{path} is no list"
        else:
            for i, v in enumerate(value):
                yield from check_value(f"{path}[{i}]", name, kind[0], v)
    elif kind in OBJECTS if isinstance(kind, str) else False:
        yield from check_object(path, *OBJECTS[kind], value)
    elif kind == TEXT:
        if not isinstance(value, str) or not value:
            yield f"{path} is no text"
    elif kind == FLAG:
        if not isinstance(value, bool):
            yield f"{path} is no truth value"
    elif kind == ADDRESS:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            yield f"{path} is no address"
    elif not isinstance(value, int) or isinstance(value, bool):
        yield f"{path} is no number"
    elif kind == TIME and not 1.5e12 < value < 4e12:
        yield f"{path} is no time in milliseconds"
    elif kind == "id" and value not in IDS[name] or isinstance(kind, (tuple, range)) and value not in kind:
        yield f"{path} is {value}, which is not in its enum"


def check_object(path, attributes, required, one_of, value):
    if not isinstance(value, dict):
        yield f"{path} is no object"
        return
    for name in required:
        if name not in value:
            yield f"{path}.{name} is required"
    if one_of and not any(name in value for name in one_of):
        yield f"{path} needs one of {', '.join(one_of)}"
    for name, v in value.items():
        if name not in attributes:
            yield f"{path}.{name} is not an attribute"
        else:
            yield from check_value(f"{path}.{name}", name, attributes[name], v)


def check(record):
    own = CLASSES.get(record.get("class_uid"))
    if not own:
        return [f"class {record.get('class_uid')} is not expected"]
    category, activities, attributes, required, one_of = own
    found = list(check_object("record", {**BASE, **attributes}, (*REQUIRED, *required), one_of, record))
    if record.get("category_uid") != category or record.get("activity_id") not in activities:
        found.append("category or activity is not the class's")
    if record.get("activity_id") == 99 and not record.get("activity_name"):
        found.append("what is no activity of the class has no name")
    if record.get("type_uid") != record["class_uid"] * 100 + record.get("activity_id", 0):
        found.append("type_uid does not follow from class and activity")
    if record.get("metadata", {}).get("version") != VERSION:
        found.append("metadata.version is another")
    if record.get("count", 1) < 1 or record.get("start_time", 0) > record.get("end_time", 1 << 60):
        found.append("count or times make no sense")
    return found
