set(here ${CMAKE_CURRENT_LIST_DIR})
holdfast_unit_test(postgres_codec
                   SOURCES ${here}/frame_test.cpp ${here}/messages_test.cpp ${here}/startup_test.cpp
                           ${here}/reply_tracker_test.cpp ${here}/statement_store_test.cpp ${here}/session_state_test.cpp
                           ${here}/read_buffer_test.cpp ${here}/journal_test.cpp
                   LIBRARIES holdfast_postgres_codec holdfast_postgres_scan)
