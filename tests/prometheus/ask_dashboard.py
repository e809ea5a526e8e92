"""Asks a Prometheus every question of a Grafana dashboard: each has to give a number that is one.

ask_dashboard.py DASHBOARD PROMETHEUS_URL
"""
import json
import math
import re
import sys
import urllib.parse
import urllib.request

# No question may be without a sample but those about these metrics, each for its reason.
MAY_BE_EMPTY = {"redis_consul_agent_catalog_shard_masters": "Redis Cluster alone has shards, the test's group is none"}

VARIABLES = {"$__rate_interval": "30s", "$agent": ".*", "$service": ".*"}


def questions(dashboard):
    """Yields (where it stands, PromQL)."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        label_values = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", ""))
        if label_values:
            yield variable["name"], f"count by ({label_values[2]}) ({label_values[1]})"


def ask(prometheus, expression):
    """Returns the samples' values; raises urllib.error.HTTPError where the question is wrong."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    if "$" in expression:
        raise ValueError(f"unknown variable in {expression}")
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=10) as response:
        return [float(sample["value"][1]) for sample in json.load(response)["data"]["result"]]


def main(path, prometheus):
    with open(path, encoding="utf-8") as file:
        dashboard = json.load(file)
    failures = 0
    for place, expression in questions(dashboard):
        values = ask(prometheus, expression)
        reasons = [reason for metric, reason in MAY_BE_EMPTY.items() if metric in expression]
        good = any(not math.isnan(value) for value in values) or reasons
        failures += not good
        print("ok:" if good else "FAILED:", f"{place}: {expression}: {values or ', '.join(reasons)}")
    return 1 if failures else 0


sys.exit(main(*sys.argv[1:]))
