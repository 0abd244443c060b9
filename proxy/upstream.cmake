# The machine is sans-io; the shell performs it.
holdfast_library(upstream_machine
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/upstream_machine.cpp ${CMAKE_CURRENT_LIST_DIR}/upstream_machine_gate.cpp
          ${CMAKE_CURRENT_LIST_DIR}/upstream_types.cpp
  PUBLIC holdfast_config PRIVATE holdfast_backoff)
if(NOT HOLDFAST_SANS_IO_ONLY)
  find_package(spdlog REQUIRED)
  holdfast_library(upstream SOURCES ${CMAKE_CURRENT_LIST_DIR}/upstream.cpp
    PUBLIC holdfast_asio holdfast_upstream_machine PRIVATE spdlog::spdlog)
endif()
