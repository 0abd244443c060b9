// Reads frames whole, writes bytes whole.
#include "proxy/postgres/message_channel.hpp"

namespace holdfast::proxy::postgres {

Task<std::optional<Message>> MessageChannel::read() {
  buffer_.consume(std::exchange(taken_, 0));
  for (;;) {
    pg::Header header;
    const auto found = pg::read_header(buffer_.data(), header);
    if (found == pg::HeaderResult::bad_length ||
        (found == pg::HeaderResult::complete && header.size > message_size_max)) {
      error_ = "a message has an invalid length";
      malformed_ = true;
      co_return std::nullopt;
    }
    if (found == pg::HeaderResult::complete && buffer_.data().size() >= header.size) {
      taken_ = header.size;
      co_return Message{header.type, buffer_.data().substr(0, header.size)};
    }
    const auto space = buffer_.lingering_space(found == pg::HeaderResult::complete ? header.size : 0);
    const auto [error, size] =
        co_await stream_.async_read_some(asio::buffer(space.data(), space.size()), asio::as_tuple(use_task));
    if (error) {
      error_ = error == asio::error::eof ? "the connection was closed" : error.message();
      co_return std::nullopt;
    }
    buffer_.commit(size);
  }
}

Task<bool> MessageChannel::write(std::string_view bytes) {
  const auto [size, error] = co_await stream_.write(bytes);
  static_cast<void>(size);
  if (error) error_ = error.message();
  co_return !error;
}

}  // namespace holdfast::proxy::postgres
