// Finds out what the server at the other end of a new connection is, before anything is sent to it twice.
#pragma once

#include <memory>

#include "proxy/mongo/backend.hpp"
#include "proxy/mongo/members.hpp"

namespace holdfast::proxy::mongo {

/// Asks over `of`, which leads to one that may be served as this member, unless what it is is known; and over a connection of the proxy's
/// own login where it tells users only: from MongoDB 8.1 on buildInfo needs a login. What it is goes to `members`. Where it does not
/// answer, `of` is not sound any more. Ends at `deadline`. `of`, `members` and `buffers` outlive this.
Task<> recognise(Backend& of, std::size_t member, Members& members, std::shared_ptr<const BackendSettings> settings, BufferPool& buffers,
                 SteadyTime deadline);

}  // namespace holdfast::proxy::mongo
