set(here ${CMAKE_CURRENT_LIST_DIR}/mongo)

# Sans-io: what becomes of one command, and what the members say together.
holdfast_library(mongo_operation_machine
  SOURCES ${here}/operation_machine.cpp ${here}/members.cpp
  PUBLIC holdfast_mongo_codec holdfast_upstream_machine holdfast_config)

# The shells.
if(NOT HOLDFAST_SANS_IO_ONLY)
  holdfast_library(proxy_mongo
    SOURCES ${here}/backend.cpp ${here}/upstream_login.cpp ${here}/pool.cpp ${here}/standing.cpp ${here}/context.cpp
            ${here}/session.cpp ${here}/session_own.cpp ${here}/session_operation.cpp ${here}/connection.cpp
    PUBLIC holdfast_asio holdfast_upstream holdfast_mongo_operation_machine
    PRIVATE holdfast_proxy holdfast_crypto spdlog::spdlog)
endif()
