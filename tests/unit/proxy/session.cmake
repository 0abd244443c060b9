set(here ${CMAKE_CURRENT_LIST_DIR})
holdfast_unit_test(postgres_session_machine
                   SOURCES ${here}/session_machine_test.cpp ${here}/session_machine_loss_test.cpp
                           ${here}/session_machine_prepared_test.cpp ${here}/session_machine_snapshot_test.cpp
                           ${here}/session_machine_everywhere_test.cpp ${here}/session_machine_replay_test.cpp ${here}/session_machine_ledger_test.cpp ${here}/session_machine_two_phase_test.cpp
                   LIBRARIES holdfast_postgres_session_machine)
# Replaces operator new: a program of its own.
holdfast_unit_test(postgres_session_allocation
                   SOURCES ${here}/session_machine_allocation_test.cpp
                   LIBRARIES holdfast_postgres_session_machine)
# It counts by an operator new of its own, over malloc: GCC 12 takes the pair for mismatched where it inlines one side.
target_compile_options(postgres_session_allocation_test PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)
