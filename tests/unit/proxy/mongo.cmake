set(here ${CMAKE_CURRENT_LIST_DIR})
holdfast_unit_test(mongo_operation_machine
                   SOURCES ${here}/mongo_operation_machine_test.cpp ${here}/mongo_operation_everywhere_test.cpp
                           ${here}/mongo_members_test.cpp ${here}/mongo_recent_table_test.cpp
                   LIBRARIES holdfast_mongo_operation_machine)
