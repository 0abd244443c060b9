holdfast_library(postgres_codec
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/frame.cpp ${CMAKE_CURRENT_LIST_DIR}/messages.cpp
          ${CMAKE_CURRENT_LIST_DIR}/startup.cpp ${CMAKE_CURRENT_LIST_DIR}/reply_tracker.cpp
          ${CMAKE_CURRENT_LIST_DIR}/statement_store.cpp ${CMAKE_CURRENT_LIST_DIR}/session_state.cpp ${CMAKE_CURRENT_LIST_DIR}/session_snapshot.cpp
          ${CMAKE_CURRENT_LIST_DIR}/journal.cpp ${CMAKE_CURRENT_LIST_DIR}/reply_digest.cpp
  PUBLIC holdfast_postgres_scan)
