holdfast_unit_test(postgres_judge
                   SOURCES ${CMAKE_CURRENT_LIST_DIR}/text_scan_test.cpp ${CMAKE_CURRENT_LIST_DIR}/text_scan_oracle_test.cpp
                           ${CMAKE_CURRENT_LIST_DIR}/statement_judge_test.cpp ${CMAKE_CURRENT_LIST_DIR}/session_judge_test.cpp
                           ${CMAKE_CURRENT_LIST_DIR}/ledger_test.cpp
                   LIBRARIES holdfast_postgres_scan holdfast_postgres_judge)
