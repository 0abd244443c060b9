holdfast_fuzzer(sql_scan DICTIONARY ${CMAKE_CURRENT_LIST_DIR}/sql.dict SOURCES ${CMAKE_CURRENT_LIST_DIR}/sql_scan_fuzz.cpp
                LIBRARIES holdfast_postgres_scan holdfast_postgres_judge)
holdfast_fuzzer(sql_judge DICTIONARY ${CMAKE_CURRENT_LIST_DIR}/sql.dict SOURCES ${CMAKE_CURRENT_LIST_DIR}/sql_judge_fuzz.cpp
                LIBRARIES holdfast_postgres_scan holdfast_postgres_judge)
