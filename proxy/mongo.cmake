set(here ${CMAKE_CURRENT_LIST_DIR}/mongo)

# Sans-io: what becomes of one command, and what the members say together.
holdfast_library(mongo_operation_machine
  SOURCES ${here}/operation_machine.cpp ${here}/batch_repeat.cpp ${here}/places.cpp ${here}/members.cpp ${here}/topology.cpp ${here}/selection.cpp
          ${here}/numbering.cpp ${here}/pool_book.cpp ${here}/kills.cpp ${here}/leftovers.cpp
  PUBLIC holdfast_mongo_codec holdfast_upstream_machine holdfast_config)
holdfast_mutable_library(mongo_operation_machine)

# Sans-io: clients' logins, and what is known of their users.
holdfast_library(mongo_login
  SOURCES ${here}/users.cpp ${here}/client_login.cpp
  PUBLIC holdfast_mongo_codec holdfast_crypto holdfast_config)

# The shells.
if(NOT HOLDFAST_SANS_IO_ONLY)
  holdfast_library(proxy_mongo
    SOURCES ${here}/backend.cpp ${here}/recognition.cpp ${here}/upstream_login.cpp ${here}/seed_lookup.cpp ${here}/pool.cpp ${here}/standing.cpp ${here}/monitor.cpp ${here}/context.cpp
            ${here}/session.cpp ${here}/session_own.cpp ${here}/session_login.cpp ${here}/session_operation.cpp ${here}/session_several.cpp ${here}/connection.cpp
    PUBLIC holdfast_asio holdfast_upstream holdfast_mongo_operation_machine holdfast_mongo_login
    PRIVATE holdfast_proxy holdfast_crypto holdfast_mongo_compression resolv spdlog::spdlog)
endif()
