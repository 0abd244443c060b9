// Events as text/event-stream shows them (WHATWG HTML, "Server-sent events"). No socket in here.
#pragma once

#include <cstdint>
#include <string>

#include "admin/event_feed.hpp"

namespace holdfast::admin {

/// What is sent where nothing else is, so that both sides know that the other lives.
inline constexpr const char* event_heartbeat = ": still here\n\n";

/// Whether the object itself says the event's name.
enum class EventName { outside, inside };
/// The data of an event.
[[nodiscard]] std::string event_json(const NumberedEvent& event, EventName name);

/// `id`, `event` and `data` of an event, with the empty line that ends it.
[[nodiscard]] std::string event_text(const NumberedEvent& event);
/// The event `gap` of a batch that lacks events; empty where it lacks none. Bears the number of the last one missed, so
/// that a listener who resumes after it gets what follows.
[[nodiscard]] std::string gap_text(const EventFeed::Batch& batch, proxy::SystemTime now);

}  // namespace holdfast::admin
