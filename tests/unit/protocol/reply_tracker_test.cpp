// Which request each reply answers: conversations in order, errors at each position, COPY, and what is taken back.
#include "protocol/postgres/reply_tracker.hpp"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "protocol/postgres/messages.hpp"

namespace holdfast::postgres {
namespace {

using Kind = RequestKind;

/// P B D E C Q F c S, as the frontend's type bytes; `c` is CopyDone.
Kind kind_of(char type) {
  switch (type) {
    case 'P': return Kind::parse;
    case 'B': return Kind::bind;
    case 'D': return Kind::describe;
    case 'E': return Kind::execute;
    case 'C': return Kind::close;
    case 'Q': return Kind::query;
    case 'F': return Kind::function_call;
    case 'c': return Kind::copy_end;
    default: return Kind::sync;
  }
}

class ReplyTrackerTest : public ::testing::Test {
 protected:
  /// Sends each request; returns how many the server will read.
  std::size_t send(std::string_view types) {
    std::size_t queued = 0;
    for (const char type : types) {
      Request request;
      request.kind = kind_of(type);
      if (tracker.push(request)) ++queued;
    }
    return queued;
  }
  /// Each reply must be expected; '!' stands for ErrorResponse. Returns how many requests were finished.
  std::size_t receive(std::string_view types) {
    std::size_t finished = 0;
    for (const char type : types) {
      if (type == '!') {
        skipped.clear();
        tracker.on_error(skipped);
        continue;
      }
      const auto reply = tracker.on_reply(type);
      EXPECT_TRUE(reply.expected) << type << " in " << types;
      EXPECT_EQ(reply.ready, type == 'Z');
      if (reply.finished) ++finished;
    }
    return finished;
  }

  ReplyTracker tracker;
  std::vector<Request> skipped;
};

TEST_F(ReplyTrackerTest, a_simple_query_ends_with_ready_for_query) {
  EXPECT_EQ(send("Q"), 1U);
  EXPECT_FALSE(tracker.segment_open());
  EXPECT_EQ(receive("TC"), 0U);
  EXPECT_TRUE(tracker.requests()[0].completed_part);
  EXPECT_EQ(receive("Z"), 1U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, a_text_of_several_statements_has_several_answers_and_one_end) {
  send("Q");
  EXPECT_EQ(receive("TCCITCZ"), 1U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, an_extended_segment_is_answered_message_by_message) {
  EXPECT_EQ(send("PBDES"), 5U);
  EXPECT_FALSE(tracker.segment_open());
  EXPECT_EQ(receive("12T"), 3U);
  EXPECT_EQ(receive("CZ"), 2U);
  send("PD");
  EXPECT_TRUE(tracker.segment_open());
  EXPECT_EQ(receive("1tn"), 2U);
  EXPECT_TRUE(tracker.segment_open());
  send("S");
  EXPECT_EQ(receive("Z"), 1U);
}

TEST_F(ReplyTrackerTest, segments_may_be_pipelined) {
  send("PBESBESQPBECS");
  EXPECT_EQ(receive("12CZ2CZTCZ12I3Z"), 13U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, a_suspended_portal_ends_its_execute_only) {
  send("BEEES");
  EXPECT_EQ(receive("2sss"), 4U);
  EXPECT_EQ(receive("Z"), 1U);
}

TEST_F(ReplyTrackerTest, a_query_ends_an_open_segment) {
  send("PBQ");
  EXPECT_FALSE(tracker.segment_open());
  EXPECT_EQ(receive("12TCZ"), 3U);
}

TEST_F(ReplyTrackerTest, a_function_call_ends_with_ready_for_query) {
  send("F");
  EXPECT_EQ(receive("VZ"), 1U);
}

TEST_F(ReplyTrackerTest, an_error_at_each_position_skips_to_the_sync) {
  const std::string_view requests = "PBDECS", answers = "12TC3";
  for (std::size_t at = 0; at <= answers.size(); ++at) {
    tracker.reset();
    send(requests);
    send("PBES");
    receive(answers.substr(0, at));
    receive("!");
    EXPECT_EQ(skipped.size(), answers.size() - at) << at;
    EXPECT_TRUE(tracker.failed());
    EXPECT_EQ(receive("Z"), 1U) << at;
    EXPECT_FALSE(tracker.failed());
    EXPECT_EQ(receive("12CZ"), 4U) << at;
    EXPECT_TRUE(tracker.empty());
  }
}

TEST_F(ReplyTrackerTest, what_follows_an_error_is_not_read_before_a_sync_that_has_not_been_sent_yet) {
  send("PB");
  receive("1!");
  EXPECT_EQ(skipped.size(), 1U);
  EXPECT_EQ(send("EDCQ"), 0U) << "the server skips even a Query";
  EXPECT_TRUE(tracker.empty());
  EXPECT_EQ(send("SPBES"), 5U);
  EXPECT_EQ(receive("Z12CZ"), 5U);
}

TEST_F(ReplyTrackerTest, an_error_in_a_simple_query_skips_nothing_behind_it) {
  send("QQ");
  receive("!");
  EXPECT_TRUE(skipped.empty());
  EXPECT_TRUE(tracker.failed());
  EXPECT_EQ(receive("ZTCZ"), 2U);
}

TEST_F(ReplyTrackerTest, copy_in_by_a_simple_query) {
  send("Q");
  receive("G");
  EXPECT_TRUE(tracker.copying_in());
  EXPECT_EQ(send("c"), 1U);
  EXPECT_FALSE(tracker.copying_in());
  EXPECT_EQ(receive("CZ"), 1U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, a_sync_sent_before_copy_in_began_is_ignored) {
  send("PBES");
  receive("12G");
  EXPECT_TRUE(tracker.copying_in());
  EXPECT_TRUE(tracker.segment_open());
  EXPECT_EQ(send("S"), 0U) << "so is a Sync within the copy";
  send("cS");
  EXPECT_FALSE(tracker.copying_in());
  EXPECT_EQ(receive("CZ"), 2U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, copies_may_be_pipelined_with_their_data) {
  send("BEScSBEScS");
  EXPECT_EQ(receive("2GC"), 2U);
  EXPECT_EQ(receive("Z"), 1U);
  EXPECT_EQ(receive("2GCZ"), 3U);
  EXPECT_TRUE(tracker.empty());
  EXPECT_FALSE(tracker.segment_open());
  EXPECT_FALSE(tracker.copying_in());
}

TEST_F(ReplyTrackerTest, a_copy_that_fails_leaves_its_end_without_meaning) {
  send("Q");
  receive("G!");
  EXPECT_FALSE(tracker.copying_in());
  send("c");  // its failure was not known yet
  EXPECT_EQ(receive("Z"), 1U);
  EXPECT_TRUE(tracker.empty());
  EXPECT_EQ(send("c"), 0U) << "left over with nothing under way";
  send("Qc");
  EXPECT_EQ(receive("TCZ"), 1U) << "nothing but a copy waits for its end";
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, a_copy_that_fails_in_the_extended_protocol_skips_to_the_sync_behind_it) {
  send("PBES");
  receive("12G");
  receive("!");
  EXPECT_EQ(skipped.size(), 1U);
  EXPECT_EQ(send("cS"), 1U);
  EXPECT_EQ(receive("Z"), 1U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, a_copy_that_is_refused_at_once_ends_at_the_sync_that_was_sent) {
  send("PBEcS");
  receive("12!");
  EXPECT_EQ(receive("Z"), 1U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, a_copy_that_fails_before_it_reads_leaves_the_sync_that_was_sent_to_be_answered) {
  send("PBES");
  receive("12G!Z");
  EXPECT_FALSE(tracker.segment_open());
  EXPECT_EQ(send("Q"), 1U) << "the server reads again";
  EXPECT_EQ(receive("TCZ"), 1U);
  send("PBEScS");  // all at once: both are answered
  receive("12G!ZZ");
  EXPECT_EQ(send("Q"), 1U);
  EXPECT_EQ(receive("TCZ"), 1U);
  send("PBE");
  receive("12G");
  EXPECT_EQ(send("S"), 0U) << "the copy reads over it, or it is answered: who knows";
  receive("!Z");
  EXPECT_FALSE(tracker.segment_open());
}

TEST_F(ReplyTrackerTest, a_sync_that_a_copy_has_read_over_is_no_answer_to_anything_behind_it) {
  send("PBES");
  receive("12G");
  send("cS");
  receive("!Z");
  EXPECT_EQ(send("Q"), 1U);
  receive("!");
  EXPECT_EQ(receive("Z"), 1U);
  EXPECT_TRUE(tracker.empty());
}

TEST_F(ReplyTrackerTest, copy_out_is_a_result_like_another) {
  send("QBES");
  EXPECT_EQ(receive("HcCZ2HcCZ"), 4U);
}

TEST_F(ReplyTrackerTest, what_answers_nothing_is_not_expected) {
  EXPECT_FALSE(tracker.on_reply('Z').expected);
  for (const char request : std::string_view("PBDECS")) {
    for (const char reply : std::string_view("123nTCIsZVGH")) {
      tracker.reset();
      Request sent;
      sent.kind = kind_of(request);
      ASSERT_TRUE(tracker.push(sent));
      const auto expected = std::string_view(request == 'P'   ? "1"
                                             : request == 'B' ? "2"
                                             : request == 'D' ? "nT"
                                             : request == 'E' ? "TCIsGH"
                                             : request == 'C' ? "3"
                                                              : "Z");
      EXPECT_EQ(tracker.on_reply(reply).expected, expected.find(reply) != std::string_view::npos)
          << reply << " after " << request;
    }
  }
}

TEST_F(ReplyTrackerTest, takes_back_what_was_sent_since_a_mark_newest_first) {
  const std::string_view requests = "PBESQPB";
  for (std::size_t at = 0; at <= requests.size(); ++at) {
    tracker.reset();
    send(requests.substr(0, at));
    const auto mark = tracker.mark();
    const bool open = tracker.segment_open();
    send(requests.substr(at));
    std::vector<Request> undone;
    tracker.unwind(mark, undone);
    ASSERT_EQ(undone.size(), requests.size() - at);
    for (std::size_t i = 0; i < undone.size(); ++i) {
      EXPECT_EQ(undone[i].kind, kind_of(requests[requests.size() - 1 - i]));
    }
    EXPECT_EQ(tracker.requests().size(), at);
    EXPECT_EQ(tracker.segment_open(), open);
  }
}

TEST_F(ReplyTrackerTest, takes_back_the_same_when_older_requests_were_answered_meanwhile) {
  send("QQ");
  const auto mark = tracker.mark();
  send("PBS");
  receive("TCZ");
  std::vector<Request> undone;
  tracker.unwind(mark, undone);
  EXPECT_EQ(undone.size(), 3U);
  EXPECT_EQ(tracker.requests().size(), 1U);
  EXPECT_EQ(receive("TCZ"), 1U);
}

TEST_F(ReplyTrackerTest, takes_back_the_end_of_a_copy) {
  send("Q");
  receive("G");
  const auto mark = tracker.mark();
  send("cQ");
  EXPECT_FALSE(tracker.copying_in());
  std::vector<Request> undone;
  tracker.unwind(mark, undone);
  EXPECT_TRUE(tracker.copying_in());
  EXPECT_EQ(tracker.requests().size(), 1U);
}

TEST_F(ReplyTrackerTest, keeps_order_when_its_queue_grows) {
  for (StatementId id = 0; id < 1000; ++id) {
    Request request;
    request.kind = Kind::execute;
    request.statement = id;
    ASSERT_TRUE(tracker.push(request));
    if (id % 3 == 2) {  // the front moves while the back grows
      EXPECT_EQ(tracker.on_reply('C').request.statement, id / 3);
    }
  }
  EXPECT_EQ(tracker.requests().size(), 667U);
  EXPECT_EQ(tracker.requests().back().statement, 999U);
}

TEST_F(ReplyTrackerTest, tells_whose_request_a_reply_answers) {
  Request own;
  own.kind = Kind::parse;
  own.owner = Owner::injected;
  ASSERT_TRUE(tracker.push(own));
  send("BES");
  EXPECT_EQ(tracker.on_reply('1').owner, Owner::injected);
  EXPECT_EQ(tracker.on_reply('2').owner, Owner::client);
  tracker.reset();
  ASSERT_TRUE(tracker.push(own));
  send("BES");
  EXPECT_EQ(tracker.on_error(skipped), Owner::injected);
  EXPECT_EQ(skipped.size(), 3U);
}

}  // namespace
}  // namespace holdfast::postgres
