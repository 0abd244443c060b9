set(here ${CMAKE_CURRENT_LIST_DIR})
holdfast_unit_test(mongo_operation_machine
                   SOURCES ${here}/mongo_operation_machine_test.cpp ${here}/mongo_operation_everywhere_test.cpp
                           ${here}/mongo_operation_transaction_test.cpp
                           ${here}/mongo_members_test.cpp ${here}/mongo_elections_test.cpp ${here}/mongo_recent_table_test.cpp ${here}/mongo_own_sessions_test.cpp
                           ${here}/mongo_numbering_test.cpp ${here}/mongo_places_test.cpp ${here}/mongo_batch_repeat_test.cpp ${here}/mongo_operation_batch_test.cpp
                           ${here}/mongo_seed_polling_test.cpp ${here}/mongo_pool_book_test.cpp ${here}/mongo_kills_test.cpp ${here}/mongo_leftovers_test.cpp
                   LIBRARIES holdfast_mongo_operation_machine)
holdfast_unit_test(mongo_login
                   SOURCES ${here}/mongo_client_login_test.cpp ${here}/mongo_users_test.cpp
                   LIBRARIES holdfast_mongo_login)
find_package(bson-1.0 REQUIRED)
holdfast_unit_test(mongo_specification
                   SOURCES ${here}/mongo_specification_test.cpp ${here}/../protocol/mongo_json.cpp
                   LIBRARIES holdfast_mongo_operation_machine mongo::bson_shared)
target_compile_definitions(mongo_specification_test PRIVATE DEFAULT_CACHE="${PROJECT_SOURCE_DIR}/build/cache")
