"""explain: how a find would go, and what it meets."""

from support.mongo_model import plans
from support.mongo_model.commands.reads import Seen, selected
from support.mongo_model.errors import CommandError
from support.mongo_model.registry import READ, command

VERBOSITIES = ("queryPlanner", "executionStats", "allPlansExecution")


@command("explain", needs=READ)
async def explain(op):
    inner = op.doc["explain"]
    verbosity = op.doc.get("verbosity", VERBOSITIES[-1])
    if verbosity not in VERBOSITIES:
        raise CommandError(9, f"verbosity string must be one of {VERBOSITIES}")
    name = next(iter(inner))
    namespace = f"{op.database}.{inner[name]}"
    plan, stats = {"stage": "COLLSCAN"}, None
    if name == "find":
        index = plans.hinted(inner, namespace, op.member.store.find(namespace))
        documents = selected(op, inner, Seen(op), namespace)
        if index:
            plan = {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "keyPattern": index["key"], "indexName": index["name"]}}
        stats = {"executionSuccess": True, "nReturned": len(documents), "executionTimeMillis": 0, "executionStages": plan}
    return {"queryPlanner": {"plannerVersion": 1, "namespace": namespace, "winningPlan": plan},
            **({"executionStats": stats} if stats and verbosity != "queryPlanner" else {}), "serverInfo": {"host": op.member.address}}
