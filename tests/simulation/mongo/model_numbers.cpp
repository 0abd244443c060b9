// What a member remembers of writes with a txnNumber, and where it takes none.
#include <gtest/gtest.h>

#include "protocol/mongo/error_codes.hpp"
#include "protocol/mongo/reply.hpp"
#include "tests/simulation/mongo/model_member.hpp"

namespace holdfast::simulation::mongo {

namespace code = wire::code;

const Member::Record& Member::record_of(std::string_view session) {
  auto& record = sessions_[std::string(session)];
  if (clock_.now() - record.used > rules_.session_time) record = {};
  return record;
}

bool Member::takes_no_number(const wire::Command& command) const {
  if (!command.transaction_number) return false;
  // Such a server may take the number and not know the write again.
  EXPECT_FALSE(standalone_ && command.session.starts_with(Rules::own_session)) << "a standalone server gets a number of the proxy's";
  return command.collection == "c" && clock_.now() >= rules_.takes_no_number;
}

Member::Answer Member::recover(const wire::Command& command) {
  const auto number = *command.transaction_number;
  const auto open = open_.find(command.session);
  if (open != open_.end() && open->second.number == number) open_.erase(open);
  const auto& known = record_of(command.session);
  if (known.number == number && known.transaction) return {wire::ok_body(), wait_of(command)};
  return {wire::error_body({code::no_such_transaction, "it was not committed", {wire::label::transient_transaction}}), wait_of(command)};
}

Member::Answer Member::refuse_number() const {
  constexpr int codes[] = {code::illegal_operation, code::unsupported_in_transaction, code::no_retryable_writes, code::not_a_retryable_write};
  return {wire::error_body({codes[clock_.pick(4)], "no number here", {}}), 0};
}

}  // namespace holdfast::simulation::mongo
