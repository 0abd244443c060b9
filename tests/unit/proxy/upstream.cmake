set(here ${CMAKE_CURRENT_LIST_DIR})
holdfast_unit_test(upstream_machine
                   SOURCES ${here}/upstream_machine_test.cpp ${here}/upstream_machine_gate_test.cpp
                           ${here}/upstream_machine_hosts_test.cpp ${here}/upstream_machine_operators_test.cpp
                           ${here}/upstream_machine_everywhere_test.cpp
                   LIBRARIES holdfast_upstream_machine)
# Over real sockets: a protocol of the test's own.
if(NOT HOLDFAST_SANS_IO_ONLY)
  holdfast_unit_test(toy_protocol SOURCES ${here}/toy_protocol_test.cpp LIBRARIES holdfast_asio holdfast_upstream)
endif()
