// The messages that holdfast itself reads or writes; all others are forwarded unread.
// PostgreSQL documentation, "Message Formats" and "Error and Notice Message Fields".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/postgres/frame.hpp"

namespace holdfast::postgres {

/// Message types, as the frontend and the backend send them. A type byte can mean different things each way.
namespace frontend {
inline constexpr char bind = 'B', close = 'C', copy_data = 'd', copy_done = 'c', copy_fail = 'f', describe = 'D',
                      execute = 'E', flush = 'H', function_call = 'F', parse = 'P', password = 'p', query = 'Q',
                      sync = 'S', terminate = 'X';
/// Belongs to a COPY that is under way, and asks for nothing by itself.
constexpr bool is_copy_message(char type) { return type == copy_data || type == copy_done || type == copy_fail; }
}
namespace backend {
inline constexpr char authentication = 'R', backend_key_data = 'K', bind_complete = '2', close_complete = '3',
                      command_complete = 'C', copy_data = 'd', copy_done = 'c', copy_in = 'G', copy_out = 'H',
                      copy_both = 'W', data_row = 'D', empty_query = 'I', error = 'E', function_result = 'V',
                      negotiate_version = 'v', no_data = 'n', notice = 'N', notification = 'A',
                      parameter_description = 't', parameter_status = 'S', parse_complete = '1',
                      portal_suspended = 's', ready_for_query = 'Z', row_description = 'T';
}

/// The fields of an ErrorResponse or NoticeResponse that are acted on. Views into the message.
struct ErrorFields {
  std::string_view severity;  // V, never localized; S where a server before 9.6 has none
  std::string_view code;      // SQLSTATE
  std::string_view message;
  std::string_view detail;
  /// FATAL or PANIC: the server ends the connection after it.
  [[nodiscard]] bool ends_connection() const { return severity == "FATAL" || severity == "PANIC"; }
};

/// `body` is a message without its header. None when it is malformed.
[[nodiscard]] std::optional<ErrorFields> parse_error(std::string_view body);

struct ErrorText {
  std::string_view severity;  // ERROR, FATAL, WARNING
  std::string_view code;
  std::string_view message;
  std::string_view detail = {};
  std::string_view hint = {};
};
void write_error(std::string& out, const ErrorText& error);
void write_notice(std::string& out, const ErrorText& notice);
/// `status` is I, T or E.
void write_ready_for_query(std::string& out, char status);
void write_command_complete(std::string& out, std::string_view tag);
/// ParseComplete, BindComplete, CloseComplete, NoData, EmptyQueryResponse: a type and nothing else.
void write_empty(std::string& out, char type);
void write_parameter_status(std::string& out, std::string_view name, std::string_view value);
void write_query(std::string& out, std::string_view text);
/// Parse with text, Bind of text parameters, Execute and Close, under the name `name` for statement and portal.
/// No Sync: the caller ends the segment. Everything is closed again, so nothing of it stays in the session.
void write_statement(std::string& out, std::string_view name, std::string_view text,
                     const std::vector<std::string>& parameters);
/// The same behind a Close: where the one before it failed after its Parse, that one's statement still has the name.
void write_statement_anew(std::string& out, std::string_view name, std::string_view text,
                          const std::vector<std::string>& parameters);
void write_sync(std::string& out);
void write_flush(std::string& out);

/// The tag of a CommandComplete.
[[nodiscard]] std::string_view command_tag(std::string_view body);
/// Name and value of a ParameterStatus; none when malformed.
[[nodiscard]] std::optional<std::pair<std::string_view, std::string_view>> parse_parameter_status(std::string_view body);
/// Columns of a DataRow; NULL is none. False when malformed.
[[nodiscard]] bool parse_data_row(std::string_view body, std::vector<std::optional<std::string_view>>& columns);

struct ParseMessage {
  std::string_view name, text;
};
[[nodiscard]] std::optional<ParseMessage> parse_parse(std::string_view body);
struct BindMessage {
  std::string_view portal, statement;
};
[[nodiscard]] std::optional<BindMessage> parse_bind(std::string_view body);
/// The values of a Bind as they were sent, without the NULL ones; as many as are there where it was cut.
[[nodiscard]] std::vector<std::string_view> bind_values(std::string_view body);
struct TargetMessage {
  char kind = 0;  // S statement, P portal
  std::string_view name;
};
/// Describe and Close share their form.
[[nodiscard]] std::optional<TargetMessage> parse_target(std::string_view body);

}  // namespace holdfast::postgres
