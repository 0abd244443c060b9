# One for each side of a session, one for both with losses in any order, one for what comes before a login.
foreach(fuzzer startup client server session)
  holdfast_fuzzer(postgres_${fuzzer} SOURCES ${CMAKE_CURRENT_LIST_DIR}/postgres_${fuzzer}_fuzz.cpp
                  LIBRARIES holdfast_postgres_session_machine)
endforeach()
