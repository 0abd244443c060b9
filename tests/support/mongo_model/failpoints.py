"""Fail points as drivers' tests set them: failCommand with its mode, error, labels, blocking and closing, and some of a place."""

from support.mongo_model.errors import CommandError


class FailPoints:
    """What `configureFailPoint` has set on one member."""

    def __init__(self):
        self.points = {}

    def configure(self, name, mode, data):
        if mode == "off":
            self.points.pop(name, None)
            return
        point = {"data": data or {}, "skip": 0, "times": None}
        if isinstance(mode, dict):
            point["times"] = int(mode["times"]) if "times" in mode else None
            point["skip"] = int(mode.get("skip", 0))
            if not {"times", "skip", "activationProbability"} & set(mode):
                raise CommandError(2, "unknown fail point mode")
        elif mode != "alwaysOn":
            raise CommandError(2, f"unknown mode: {mode}")
        self.points[name] = point

    def hit_place(self, name):
        """The data of the fail point of a place in the server where it applies this time, else None."""
        point = self.points.get(name)
        return point["data"] if point and self._counts(point) else None

    def hit(self, command, connection):
        """The data of failCommand where it applies to this command now, else None."""
        point = self.points.get("failCommand")
        if not point:
            return None
        data = point["data"]
        if command not in data.get("failCommands", []) or command == "configureFailPoint":
            return None
        if "appName" in data and data["appName"] != connection.app_name:
            return None
        return data if self._counts(point) else None

    @staticmethod
    def _counts(point):
        """Whether the point's mode lets it happen this time."""
        if point["skip"] > 0:
            point["skip"] -= 1
            return False
        if point["times"] is not None:
            if point["times"] == 0:
                return False
            point["times"] -= 1
        return True
