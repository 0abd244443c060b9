// Cuts a document down to the fields that a projection asks for, as servers do for find and findAndModify (MongoDB manual, "Project
// Fields to Return from Query"). Plain paths only: whoever asks for more is told that this cannot.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::mongo {

/// `document` with the fields that `projection` includes, or without those that it excludes. None where the projection holds anything but
/// paths with a number or a boolean ($slice, a position, an expression), contradicts itself, or the document is no BSON or nested too deeply.
/// What has been projected stays the same a second time.
[[nodiscard]] std::optional<std::string> project(std::string_view document, std::string_view projection);

/// The answer to a findAndModify with its `value` so projected.
[[nodiscard]] std::optional<std::string> with_projected_value(std::string_view reply, std::string_view projection);

}  // namespace holdfast::mongo
