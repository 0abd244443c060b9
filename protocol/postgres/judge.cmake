# What says what a text is. By its tokens: standard library only, on the hot path.
holdfast_library(postgres_scan SOURCES ${CMAKE_CURRENT_LIST_DIR}/text_scan.cpp ${CMAKE_CURRENT_LIST_DIR}/text_names.cpp)

# By its parse tree: libpg_query, whose types no header shows.
find_library(HOLDFAST_PG_QUERY pg_query REQUIRED)
holdfast_library(postgres_judge
                 SOURCES ${CMAKE_CURRENT_LIST_DIR}/parse_tree.cpp ${CMAKE_CURRENT_LIST_DIR}/builtin_functions.cpp
                         ${CMAKE_CURRENT_LIST_DIR}/statement_judge.cpp ${CMAKE_CURRENT_LIST_DIR}/session_judge.cpp
                         ${CMAKE_CURRENT_LIST_DIR}/read_proof.cpp ${CMAKE_CURRENT_LIST_DIR}/ledger.cpp ${CMAKE_CURRENT_LIST_DIR}/two_phase.cpp
                 PRIVATE ${HOLDFAST_PG_QUERY})
