// Reads and writes the messages that are acted on.
#include "protocol/postgres/messages.hpp"

namespace holdfast::postgres {
namespace {

void write_fields(std::string& out, char type, const ErrorText& error) {
  Writer writer(out, type);
  const auto field = [&](char code, std::string_view value) {
    if (!value.empty()) writer.u8(static_cast<std::uint8_t>(code)).cstring(value);
  };
  field('S', error.severity);
  field('V', error.severity);
  field('C', error.code);
  field('M', error.message);
  field('D', error.detail);
  field('H', error.hint);
  writer.u8(0).finish();
}

}  // namespace

std::optional<ErrorFields> parse_error(std::string_view body) {
  ErrorFields fields;
  std::string_view localized;
  Reader reader(body);
  for (;;) {
    const char code = static_cast<char>(reader.u8());
    if (code == 0) break;
    const auto value = reader.cstring();
    switch (code) {
      case 'S': localized = value; break;
      case 'V': fields.severity = value; break;
      case 'C': fields.code = value; break;
      case 'M': fields.message = value; break;
      case 'D': fields.detail = value; break;
      default: break;
    }
  }
  if (reader.failed()) return std::nullopt;
  if (fields.severity.empty()) fields.severity = localized;
  return fields;
}

void write_error(std::string& out, const ErrorText& error) { write_fields(out, backend::error, error); }

void write_notice(std::string& out, const ErrorText& notice) { write_fields(out, backend::notice, notice); }

void write_ready_for_query(std::string& out, char status) {
  Writer(out, backend::ready_for_query).u8(static_cast<std::uint8_t>(status)).finish();
}

void write_command_complete(std::string& out, std::string_view tag) {
  Writer(out, backend::command_complete).cstring(tag).finish();
}

void write_empty(std::string& out, char type) { Writer(out, type).finish(); }

void write_parameter_status(std::string& out, std::string_view name, std::string_view value) {
  Writer(out, backend::parameter_status).cstring(name).cstring(value).finish();
}

void write_query(std::string& out, std::string_view text) { Writer(out, frontend::query).cstring(text).finish(); }

void write_statement(std::string& out, std::string_view name, std::string_view text,
                     const std::vector<std::string>& parameters) {
  Writer(out, frontend::parse).cstring(name).cstring(text).i16(0).finish();
  Writer bind(out, frontend::bind);
  bind.cstring(name).cstring(name).i16(0).i16(static_cast<std::int16_t>(parameters.size()));
  for (const auto& parameter : parameters) {
    bind.i32(static_cast<std::int32_t>(parameter.size())).bytes(parameter);
  }
  bind.i16(0).finish();
  Writer(out, frontend::execute).cstring(name).i32(0).finish();
  Writer(out, frontend::close).u8('P').cstring(name).finish();
  Writer(out, frontend::close).u8('S').cstring(name).finish();
}

void write_statement_anew(std::string& out, std::string_view name, std::string_view text,
                          const std::vector<std::string>& parameters) {
  Writer(out, frontend::close).u8('S').cstring(name).finish();
  write_statement(out, name, text, parameters);
}

void write_sync(std::string& out) { Writer(out, frontend::sync).finish(); }

void write_flush(std::string& out) { Writer(out, frontend::flush).finish(); }

std::string_view command_tag(std::string_view body) {
  Reader reader(body);
  return reader.cstring();
}

std::optional<std::pair<std::string_view, std::string_view>> parse_parameter_status(std::string_view body) {
  Reader reader(body);
  const auto name = reader.cstring();
  const auto value = reader.cstring();
  if (!reader.check()) return std::nullopt;
  return std::pair{name, value};
}

bool parse_data_row(std::string_view body, std::vector<std::optional<std::string_view>>& columns) {
  columns.clear();
  Reader reader(body);
  const auto count = reader.i16();
  for (std::int16_t i = 0; i < count && !reader.failed(); ++i) {
    const auto length = reader.i32();
    if (length < 0) {
      columns.emplace_back(std::nullopt);
    } else {
      columns.emplace_back(reader.take(static_cast<std::size_t>(length)));
    }
  }
  return reader.check();
}

std::optional<ParseMessage> parse_parse(std::string_view body) {
  Reader reader(body);
  ParseMessage message;
  message.name = reader.cstring();
  message.text = reader.cstring();
  if (reader.failed()) return std::nullopt;
  return message;
}

std::optional<BindMessage> parse_bind(std::string_view body) {
  Reader reader(body);
  BindMessage message;
  message.portal = reader.cstring();
  message.statement = reader.cstring();
  if (reader.failed()) return std::nullopt;
  return message;
}

std::vector<std::string_view> bind_values(std::string_view body) {
  Reader reader(body);
  static_cast<void>(reader.cstring());
  static_cast<void>(reader.cstring());
  for (auto formats = static_cast<std::uint16_t>(reader.i16()); formats > 0; --formats) static_cast<void>(reader.i16());
  std::vector<std::string_view> values;
  for (auto count = static_cast<std::uint16_t>(reader.i16()); count > 0; --count) {
    const auto length = reader.i32();
    if (reader.failed()) break;
    if (length < 0) continue;
    const auto value = reader.take(static_cast<std::size_t>(length));
    if (reader.failed()) break;
    values.push_back(value);
  }
  return values;
}

std::optional<TargetMessage> parse_target(std::string_view body) {
  Reader reader(body);
  TargetMessage message;
  message.kind = static_cast<char>(reader.u8());
  message.name = reader.cstring();
  if (reader.failed() || (message.kind != 'S' && message.kind != 'P')) return std::nullopt;
  return message;
}

}  // namespace holdfast::postgres
