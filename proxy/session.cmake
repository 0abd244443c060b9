set(here ${CMAKE_CURRENT_LIST_DIR})

# Sans-io: what a session does.
holdfast_library(postgres_session_machine
  SOURCES ${here}/postgres/session_machine.cpp ${here}/postgres/session_machine_client.cpp
          ${here}/postgres/session_machine_server.cpp ${here}/postgres/session_machine_loss.cpp ${here}/postgres/segment_effects.cpp
          ${here}/postgres/lost_transaction.cpp ${here}/postgres/session_machine_replay.cpp ${here}/postgres/session_machine_journal.cpp ${here}/postgres/replay_judge.cpp
          ${here}/postgres/session_machine_ledger.cpp ${here}/postgres/session_machine_two_phase.cpp
  PUBLIC holdfast_postgres_codec holdfast_postgres_scan holdfast_postgres_judge)
holdfast_mutable_library(postgres_session_machine)
holdfast_library(postgres_authentication
  SOURCES ${here}/postgres/client_authentication.cpp ${here}/postgres/server_authentication.cpp
  PUBLIC holdfast_postgres_codec holdfast_crypto holdfast_config)

# The shells.
if(NOT HOLDFAST_SANS_IO_ONLY)
  find_package(spdlog REQUIRED)
  holdfast_library(proxy
    SOURCES ${here}/stream.cpp ${here}/tls.cpp ${here}/listener.cpp ${here}/postgres/message_channel.cpp
            ${here}/postgres/backend.cpp ${here}/postgres/session.cpp ${here}/postgres/session_login.cpp ${here}/postgres/session_authentication.cpp ${here}/postgres/session_loss.cpp
            ${here}/postgres/session_attach.cpp ${here}/postgres/session_ledger.cpp ${here}/postgres/connection.cpp
    PUBLIC holdfast_asio holdfast_upstream holdfast_postgres_session_machine holdfast_postgres_authentication
    PRIVATE spdlog::spdlog)
endif()
