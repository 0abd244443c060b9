// Names of roles, states and events, one in code, logs, metrics and API.
#include "proxy/upstream_types.hpp"

namespace holdfast::proxy {

const char* to_string(Role role) {
  switch (role) {
    case Role::unknown: return "unknown";
    case Role::primary: return "primary";
    case Role::standby: return "standby";
    case Role::read_only: return "read_only";
  }
  return "unknown";
}

const char* to_string(State state) {
  switch (state) {
    case State::connecting: return "connecting";
    case State::connected: return "connected";
    case State::reconnecting: return "reconnecting";
    case State::failed: return "failed";
    case State::paused: return "paused";
  }
  return "unknown";
}

const char* to_string(BreakerState state) {
  switch (state) {
    case BreakerState::closed: return "closed";
    case BreakerState::open: return "open";
    case BreakerState::half_open: return "half_open";
  }
  return "unknown";
}

const char* to_string(EventKind kind) {
  switch (kind) {
    case EventKind::connected: return "database-connected";
    case EventKind::connection_lost: return "database-connection-lost";
    case EventKind::reconnect_scheduled: return "database-reconnect-scheduled";
    case EventKind::reconnecting: return "database-reconnecting";
    case EventKind::reconnected: return "database-reconnected";
    case EventKind::reconnect_failed: return "database-reconnect-failed";
    case EventKind::health_check_failed: return "database-health-check-failed";
    case EventKind::config_changed: return "config-changed";
  }
  return "unknown";
}

}  // namespace holdfast::proxy
